/** Formulas in Markdown: $x$, $$x$$, \(x\) and \[x\]. They are typeset once the rest of the page is there. */
import type { TokenizerAndRendererExtension, Tokens } from 'marked';
import { escapeText } from './escape';

/** As in Pandoc: no space inside the dollars, and no digit behind them, or prices would be formulas. */
const kInline = /^(?:\$\$([^$]+?)\$\$|\$(?!\s)((?:\\.|[^$\n\\])+?)(?<!\s)\$(?!\d)|\\\((.+?)\\\)|\\\[([\s\S]+?)\\\])/;
const kBlock = /^ {0,3}(?:\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\])[ \t]*(?:\n|$)/;

const renderer = (token: Tokens.Generic) =>
  `<span class="${token.display ? 'math-display' : 'math'}">${escapeText(token.formula)}</span>`;

export const inlineMath: TokenizerAndRendererExtension = {
  name: 'inlineMath',
  level: 'inline',
  start: (text) => /\$|\\\(|\\\[/.exec(text)?.index,
  tokenizer(text) {
    const match = kInline.exec(text);
    if (!match) return undefined;
    const display = match[1] ?? match[4];
    return { type: 'inlineMath', raw: match[0], formula: (display ?? match[2] ?? match[3])!.trim(), display: !!display };
  },
  renderer,
};

export const blockMath: TokenizerAndRendererExtension = {
  name: 'blockMath',
  level: 'block',
  start: (text) => /(?:^|\n) {0,3}(?:\$\$|\\\[)/.exec(text)?.index,
  tokenizer(text) {
    const match = kBlock.exec(text);
    if (!match) return undefined;
    return { type: 'blockMath', raw: match[0], formula: (match[1] ?? match[2])!.trim(), display: true };
  },
  renderer: (token) => `<p>${renderer(token)}</p>`,
};

let katex: typeof import('katex').default | undefined;

/** Sets every formula of a fragment. Returns false when the typesetter is still to come: then the source stays. */
export function typeset(fragment: DocumentFragment): boolean {
  const formulas = fragment.querySelectorAll<HTMLElement>('.math, .math-display');
  if (formulas.length === 0) return true;
  if (!katex) return false;
  for (const element of formulas) {
    const formula = element.textContent ?? '';
    try {
      // MathML needs no inline style, which the server's policy forbids.
      katex.render(formula, element, {
        output: 'mathml',
        displayMode: element.className === 'math-display',
        maxExpand: 200,
        maxSize: 20,
      });
    } catch {
      const source = document.createElement('code');
      source.textContent = formula;
      element.replaceChildren(source);
    }
  }
  return true;
}

export async function loadTypesetter(): Promise<void> {
  katex ??= (await import('katex')).default;
}
