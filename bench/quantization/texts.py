"""Makes the calibration and development texts of the comparison of quantizers.

usage: texts.py MODEL_FOLDER WIKI_TEST_RAW OUTPUT_FOLDER

  b.ids    the last 48 x 512 tokens of wiki.test.raw: other articles than the windows that are scored
  c.ids    48 x 512 tokens of English prose from the Debian package debian-handbook
  dev.txt  8 x 2048 tokens of its other chapters: where settings are chosen

An .ids file has the token ids of a sequence in each line. The package is fetched with `apt-get download`.
"""
import html.parser
import pathlib
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer

SEQUENCES = 48
SEQUENCE_TOKENS = 512
DEVELOPMENT_TOKENS = 8 * 2048


class Prose(html.parser.HTMLParser):
    """The paragraphs of an HTML page."""

    def __init__(self):
        super().__init__()
        self.inside = False
        self.paragraphs = []

    def handle_starttag(self, tag, attributes):
        if tag == "div":
            self.inside = ("class", "para") in attributes
            self.paragraphs.append("")

    def handle_endtag(self, tag):
        if tag == "div":
            self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.paragraphs[-1] += data


def prose_of(page):
    parser = Prose()
    parser.feed(page.read_text(encoding="utf-8"))
    paragraphs = [" ".join(paragraph.split()) for paragraph in parser.paragraphs]
    return "\n\n".join(paragraph for paragraph in paragraphs if len(paragraph) > 80)


def unpack(package, folder):
    subprocess.run(["apt-get", "download", package], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["dpkg", "-x", next(folder.glob(f"{package}_*.deb")), folder / package], check=True)
    return folder / package


def write_ids(path, ids):
    rows = [ids[i * SEQUENCE_TOKENS : (i + 1) * SEQUENCE_TOKENS] for i in range(SEQUENCES)]
    if len(rows[-1]) < SEQUENCE_TOKENS:
        sys.exit(f"{path}: the text has {len(ids)} tokens, expected {SEQUENCES * SEQUENCE_TOKENS}")
    path.write_text("".join(" ".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")


def handbook(folder):
    pages = sorted((folder / "usr/share/doc/debian-handbook/html/en-US").glob("*.html"))
    return [text for text in map(prose_of, pages) if len(text) > 1500]


def main():
    model, wiki, output = map(pathlib.Path, sys.argv[1:])
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    output.mkdir(parents=True, exist_ok=True)
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False)
    write_ids(output / "b.ids", encode(wiki.read_text(encoding="utf-8")).ids[-SEQUENCES * SEQUENCE_TOKENS :])
    with tempfile.TemporaryDirectory() as scratch:
        chapters = handbook(unpack("debian-handbook", pathlib.Path(scratch)))
    half = len(chapters) // 2
    write_ids(output / "c.ids", encode("\n\n".join(chapters[:half])).ids)
    development = "\n\n".join(chapters[half:])
    end = encode(development).offsets[DEVELOPMENT_TOKENS][0]
    (output / "dev.txt").write_text(development[:end], encoding="utf-8")


if __name__ == "__main__":
    main()
