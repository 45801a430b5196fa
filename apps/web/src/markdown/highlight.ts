/** Colours of code. The grammars are loaded when the first code block is there. */

/** Longer ones stay plain: colouring them again with every token would make the page slow. */
const kMostCharacters = 30_000;

type Highlighter = (typeof import('./grammars'))['highlighter'];
let highlighter: Highlighter | undefined;

/** Colours every block of code whose language is known. Returns false when the grammars are still to come. */
export function highlight(fragment: DocumentFragment): boolean {
  const blocks = fragment.querySelectorAll<HTMLElement>('pre > code[class^="language-"]');
  if (blocks.length === 0) return true;
  if (!highlighter) return false;
  for (const code of blocks) {
    const language = code.className.slice('language-'.length);
    const text = code.textContent ?? '';
    if (!highlighter.getLanguage(language) || text.length > kMostCharacters) continue;
    // Its output is the text, escaped, in spans with classes.
    code.innerHTML = highlighter.highlight(text, { language, ignoreIllegals: true }).value;
  }
  return true;
}

export async function loadHighlighter(): Promise<void> {
  highlighter ??= (await import('./grammars')).highlighter;
}
