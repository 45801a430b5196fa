/** Closes what a text that is still being written has begun, so that it does not jump when the rest arrives. */

/** Lines that become something else with their next character: rules, underlines, bullets, headings, fences. */
const kUndecidedLine = /^[ \t]*(?:[-=*+_#>~`]+|\d{1,9}[.)]?)[ \t]*$/;

/** The rows of a table whose second line, which makes it one, has not come yet. */
const kTableStart = /(?:^|\n)[ \t]*\|[^\n]*(?:\n[ \t|:-]*)?$/;

/** That line, when it is whole. */
const kTableLine = /\n[ \t]*\|?[ \t]*:?-+[^\n]*\n/;

/** A link or picture whose label or address is unfinished. */
const kOpenLink = /(!?)\[([^[\]\n]*)(?:\](?:\([^)\n]*)?)?$/;

const kMarkers = ['**', '__', '~~', '*', '_'];

/** Inside an open code block only its closing line can be half there. */
export function mendCode(raw: string): string {
  return raw.replace(/\n[ \t]*(?:`{1,2}|~{1,2})$/, '');
}

/** Mends the last block of a text. */
export function mendBlock(raw: string): string {
  const lineStart = raw.lastIndexOf('\n') + 1;
  let text = kUndecidedLine.test(raw.slice(lineStart)) ? raw.slice(0, lineStart) : raw;
  if (!kTableLine.test(text)) text = text.replace(kTableStart, '');
  text = text.replace(kOpenLink, (_, picture: string, label: string) => (picture ? '' : label));
  const paragraph = lastParagraph(text);
  return text.slice(0, paragraph) + closeInline(text.slice(paragraph));
}

/** Where the last stretch of inline text begins: after a blank line or at a list item. */
function lastParagraph(text: string): number {
  let start = 0;
  for (const match of text.matchAll(/\n[ \t]*\n|\n(?=[ \t]*(?:[-*+]|\d+[.)])[ \t])/g)) start = match.index + match[0].length;
  return start;
}

function closeInline(text: string): string {
  const math = /(\$\$|\\\[|\\\()((?:(?!\$\$|\\\]|\\\))[^`])*)$/.exec(text);
  if (math && isOpenMath(text, math[1]!)) return `${text.slice(0, math.index)}\`${math[2] || ' '}\``;
  const open: string[] = [];
  // Markers at the end may be the first half of longer ones.
  text = text.replace(/[*_~]+$/, '');
  let i = 0;
  while (i < text.length) {
    if (text[i] === '\\') {
      i += 2;
      continue;
    }
    if (text[i] === '`') {
      const ticks = /^`+/.exec(text.slice(i))![0];
      const end = text.indexOf(ticks, i + ticks.length);
      if (end < 0) return text.length === i + ticks.length ? closeWith(text.slice(0, i), open) : closeWith(text + ticks, open);
      i = end + ticks.length;
      continue;
    }
    const marker = kMarkers.find((candidate) => text.startsWith(candidate, i));
    if (!marker) {
      ++i;
      continue;
    }
    toggle(open, marker, text[i - 1] ?? ' ', text[i + marker.length] ?? '');
    i += marker.length;
  }
  return closeWith(text, open);
}

const isOpenMath = (text: string, opening: string) => opening !== '$$' || text.split('$$').length % 2 === 0;

function toggle(open: string[], marker: string, before: string, after: string): void {
  const isWordBefore = /[\p{L}\p{N}]/u.test(before);
  const at = open.lastIndexOf(marker);
  if (at >= 0 && !/\s/.test(before)) open.splice(at);
  else if (!/\s/.test(after) && !(marker.includes('_') && isWordBefore)) open.push(marker);
}

/** Closes the open markers; those that nothing follows yet are left out. */
function closeWith(text: string, open: string[]): string {
  let body = text;
  const left = [...open];
  while (left.length !== 0 && body.endsWith(left.at(-1)!)) body = body.slice(0, -left.pop()!.length);
  const space = /\s*$/.exec(body)![0];
  return body.slice(0, body.length - space.length) + left.reverse().join('') + space;
}
