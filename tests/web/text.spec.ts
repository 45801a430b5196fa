/** What the page does with text and trees, without a browser. */
import { expect, test } from '@playwright/test';
import { commonLength, compareReplies } from '../../apps/web/src/agreement';
import { mendBlock, mendCode } from '../../apps/web/src/markdown/mend';
import { newestLeaf, pathTo, siblingsOf } from '../../apps/web/src/tree';
import type { Message } from '../../apps/web/src/types';

const mended: [string, string][] = [
  ['plain', 'plain'],
  ['a **bold', 'a **bold**'],
  ['a **', 'a '],
  ['a *', 'a '],
  ['*it **both', '*it **both***'],
  ['**done** and *open', '**done** and *open*'],
  ['2 * 3 and snake_case', '2 * 3 and snake_case'],
  ['`code', '`code`'],
  ['a `', 'a '],
  ['`**` text', '`**` text'],
  ['see [the page](https://exam', 'see the page'],
  ['![a picture](data:ima', ''],
  ['text\n-', 'text\n'],
  ['text\n##', 'text\n'],
  ['text\n1.', 'text\n'],
  ['| a | b |', ''],
  ['| a | b |\n|---|--', ''],
  ['| a | b |\n|---|---|\n| 1 |', '| a | b |\n|---|---|\n| 1 |'],
  ['see [the pa', 'see the pa'],
  ['so $$x + y', 'so `x + y`'],
  ['so \\(x', 'so `x`'],
  ['$$x$$ done', '$$x$$ done'],
  ['- *one*\n- **two', '- *one*\n- **two**'],
  ['~~gone', '~~gone~~'],
];
for (const [text, expected] of mended) {
  test(`unfinished ${JSON.stringify(text)} is shown as ${JSON.stringify(expected)}`, () => {
    expect(mendBlock(text)).toBe(expected);
  });
}

test('the half of a closing fence is no code', () => {
  expect(mendCode('```js\na\n``')).toBe('```js\na');
  expect(mendCode('```js\na')).toBe('```js\na');
});

const message = (id: string, parent: string | null, role: 'user' | 'assistant') => ({ id, parent, role }) as Message;
const messages = [
  message('u1', null, 'user'),
  message('a1', 'u1', 'assistant'),
  message('a2', 'u1', 'assistant'),
  message('u2', 'a1', 'user'),
  message('a3', 'u2', 'assistant'),
  message('u3', null, 'user'),
];

test('a path goes from the first message to the head', () => {
  expect(pathTo(messages, 'a3').map(({ id }) => id)).toEqual(['u1', 'a1', 'u2', 'a3']);
  expect(pathTo(messages, null)).toEqual([]);
  expect(pathTo(messages, 'unknown')).toEqual([]);
});

test('siblings have the same parent, and a branch ends at its newest leaf', () => {
  expect(siblingsOf(messages, messages[1]!).map(({ id }) => id)).toEqual(['a1', 'a2']);
  expect(siblingsOf(messages, messages[0]!).map(({ id }) => id)).toEqual(['u1', 'u3']);
  expect(newestLeaf(messages, 'a1')).toBe('a3');
  expect(newestLeaf(messages, 'a2')).toBe('a2');
  expect(newestLeaf(messages, 'u1')).toBe('a3');
});

test('agreement is counted in tokens that stand in both in the same order', () => {
  expect(commonLength([1, 2, 3, 4], [2, 4, 5])).toBe(2);
  expect(commonLength([], [1])).toBe(0);
  const found = compareReplies(['the cat sat', 'the cap sat'], [[1, 2, 3], [1, 4, 3]]);
  expect(found).toEqual({ sharedStart: 1, before: 'the ', first: 'cat sat', second: 'cap sat', share: 2 / 3, tokens: [3, 3] });
  expect(compareReplies(['', ''], [[], []]).share).toBe(1);
});
