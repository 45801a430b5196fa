/** A reply does not jump while it is written: what is shown of its beginning is how the whole will begin. */
import { expect, test } from '@playwright/test';
import { toBlocks } from '../../apps/web/src/markdown/render';

const reply = `## Why four bits

A matrix is **mostly redundant**: *most* of it, \`w[i]\` and ~~not~~ all. See [the paper](https://arxiv.org/abs/2306.00978).

$$\\lVert X \\rVert^2 = \\sum_r \\delta_r$$

With $g = 128$ it costs $5.

\`\`\`python
def quantize(w):
    return w  # **not bold**
\`\`\`

| format | bits |
|---|--:|
| fp16 | 16 |
| **int4** | 4.16 |

1. Collect
2. Search
   - exact
   - *bounded*
3. Pack

> Said **once**.

---

***Both*** and the _end_.
`;

const tagsOf = (text: string, isWriting: boolean) =>
  toBlocks(text, isWriting).map((block) => /^<(\w+)/.exec(block.html())?.[1] ?? '');

const visible = (text: string) =>
  toBlocks(text, true)
    .map((block) => block.html())
    .filter((html) => !html.startsWith('<pre>'))
    .join('')
    .replace(/<code>.*?<\/code>/gs, '')
    .replace(/<[^>]+>/g, '');

test('every part of a reply has the blocks that the whole begins with', () => {
  const whole = tagsOf(reply, false);
  expect(whole).toEqual(['h4', 'p', 'p', 'p', 'pre', 'table', 'ol', 'blockquote', 'hr', 'p']);
  for (let end = 1; end <= reply.length; ++end) {
    const part = tagsOf(reply.slice(0, end), true);
    expect(part, JSON.stringify(reply.slice(0, end).slice(-40))).toEqual(whole.slice(0, part.length));
  }
});

test('no part of a reply shows the signs that the whole does not show', () => {
  for (let end = 1; end <= reply.length; ++end) {
    expect(visible(reply.slice(0, end)), JSON.stringify(reply.slice(0, end).slice(-40))).not.toMatch(
      /\*|~|\]\(|\||^#|`|\$\$|_the|_end/m,
    );
  }
});
