/** Markdown to a list of blocks, each of which becomes HTML on its own. */
import { Marked, type Token, type Tokens } from 'marked';
import { escapeText } from './escape';
import { blockMath, inlineMath } from './math';
import { mendBlock, mendCode } from './mend';

const marked = new Marked({ gfm: true, async: false });
marked.use({
  extensions: [blockMath, inlineMath],
  renderer: {
    // The page's own headings are the first and second.
    heading({ tokens, depth }) {
      const level = Math.min(depth + 2, 6);
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
    },
    // A picture from elsewhere would tell its server who reads here: it stays a link.
    image({ href, text, title }) {
      if (href.startsWith('data:')) return `<img src="${escapeText(href)}" alt="${escapeText(text)}">`;
      return `<a href="${escapeText(href)}" title="${escapeText(title ?? '')}">${escapeText(text || href)}</a>`;
    },
    checkbox: ({ checked }) => `<span>${checked ? '☑' : '☐'}</span> `,
    code({ text, lang }) {
      const language = /^[\w+#.-]+/.exec(lang ?? '')?.[0].toLowerCase();
      const attribute = language ? ` class="language-${language}"` : '';
      return `<pre><code${attribute}>${escapeText(text)}\n</code></pre>`;
    },
  },
});

export interface Block {
  /** The source: a block whose source is as before need not be rendered again. */
  raw: string;
  html: () => string;
}

const isOpenFence = (token: Token) => {
  const fence = /^ {0,3}(`{3,}|~{3,})/.exec(token.raw)?.[1];
  return fence !== undefined && !token.raw.trimEnd().slice(fence.length).endsWith(fence);
};

/** Mends the last token of a text that is still being written. */
function mended(token: Token): Token[] {
  if (token.type !== 'code') return marked.lexer(mendBlock(token.raw));
  return isOpenFence(token) ? marked.lexer(mendCode(token.raw)) : [token];
}

/** The blocks of a text; `isWriting` says that more of it will come. */
export function toBlocks(text: string, isWriting: boolean): Block[] {
  let tokens: Token[] = marked.lexer(text);
  const last = tokens.findLastIndex((token) => token.type !== 'space');
  if (isWriting && last >= 0) tokens = [...tokens.slice(0, last), ...mended(tokens[last]!)];
  return tokens
    .filter((token) => token.type !== 'space' && token.type !== 'def')
    .map((token) => ({ raw: token.raw, html: () => marked.parser([token as Tokens.Generic]) }));
}
