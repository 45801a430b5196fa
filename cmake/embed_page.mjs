// embed_page.mjs DIST COMPRESSED OUTPUT: writes the C++ file that has the files of DIST in the program, each also
// compressed where that is smaller. The assembler reads the files themselves.
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { extname, join, relative, sep } from "node:path";
import { gzipSync } from "node:zlib";

const contentTypes = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".ico": "image/x-icon",
  ".woff": "font/woff",
  ".woff2": "font/woff2",
  ".ttf": "font/ttf",
  ".txt": "text/plain; charset=utf-8",
  ".webmanifest": "application/manifest+json",
};

const [dist, compressed, output] = process.argv.slice(2);

function filesBelow(folder) {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => (entry.isDirectory() ? filesBelow(join(folder, entry.name)) : [join(folder, entry.name)]))
    .sort();
}

function contentTypeOf(file) {
  const type = contentTypes[extname(file)];
  if (!type) throw new Error(`${file}: no content type is known for ${extname(file)}`);
  return type;
}

// A file's bytes behind a symbol. Without one at their end: Apple's linker may put something else between the two.
function embed(symbol, file) {
  const path = file.split(sep).join("/");
  if (/["\\]/.test(path)) throw new Error(`${file}: the assembler cannot read a file of this name`);
  return `asm(READ_ONLY "\\n.globl " PREFIX "${symbol}\\n" PREFIX "${symbol}:\\n.incbin \\"${path}\\"\\n.text\\n");
extern "C" const char ${symbol}[];
`;
}

function view(symbol, bytes) {
  return `std::string_view(${symbol}, ${bytes.length})`;
}

rmSync(compressed, { recursive: true, force: true });
mkdirSync(compressed, { recursive: true });
const declarations = [];
const rows = [];
for (const [index, file] of filesBelow(dist).entries()) {
  const bytes = readFileSync(file);
  const symbol = `salient_page_${index}`;
  declarations.push(embed(symbol, file));
  const packed = gzipSync(bytes, { level: 9 });
  let gzip = "{}";
  if (packed.length < bytes.length) {
    const packedFile = join(compressed, `${index}.gz`);
    writeFileSync(packedFile, packed);
    declarations.push(embed(`${symbol}_gzip`, packedFile));
    gzip = view(`${symbol}_gzip`, packed);
  }
  const path = "/" + relative(dist, file).split(sep).join("/");
  const hash = createHash("sha256").update(bytes).digest("hex").slice(0, 32);
  rows.push(`      {"${path}", "${contentTypeOf(file)}",\n       ${view(symbol, bytes)},\n       ${gzip}, "${hash}"},`);
}

writeFileSync(
  output,
  `#include "serve/page_files.h"

// Where bytes go that nobody writes, and what the system's linker has before the name of a symbol.
#if defined(_WIN32)
#define READ_ONLY ".section .rdata,\\"dr\\""
#define PREFIX ""
#elif defined(__APPLE__)
#define READ_ONLY ".section __TEXT,__const"
#define PREFIX "_"
#else
#define READ_ONLY ".section .rodata"
#define PREFIX ""
#endif
${declarations.join("")}
namespace salient::serve {

std::span<const PageFile> built_page_files() {
  static const PageFile files[] = {
${rows.join("\n")}
  };
  return files;
}

}  // namespace salient::serve
`,
);
