/** How far two replies to the same prompt agree. */

export interface Agreement {
  /** Tokens that both begin with. */
  sharedStart: number;
  /** The text where they part, from a few words before: of both, and of each from there on. */
  before: string;
  first: string;
  second: string;
  /** Tokens that stand in both in the same order, as a share of the longer reply: 0..1. */
  share: number;
  tokens: [number, number];
}

/** The length of the longest common subsequence, in memory of one row. */
export function commonLength(first: readonly number[], second: readonly number[]): number {
  let row = new Uint32Array(second.length + 1);
  for (const token of first) {
    const next = new Uint32Array(second.length + 1);
    for (let j = 0; j < second.length; ++j) {
      next[j + 1] = token === second[j] ? row[j]! + 1 : Math.max(row[j + 1]!, next[j]!);
    }
    row = next;
  }
  return row[second.length]!;
}

function commonStart<T>(first: ArrayLike<T>, second: ArrayLike<T>): number {
  let i = 0;
  while (i < first.length && i < second.length && first[i] === second[i]) ++i;
  return i;
}

/** Whole words at the border of an excerpt. */
const lastWords = (text: string) => text.slice(-60).replace(text.length > 60 ? /^\S*\s/ : /^/, '');
const firstWords = (text: string) => text.slice(0, 60).replace(text.length > 60 ? /\s\S*$/ : /$/, '');

/** Compares texts and their tokens; the tokens of both must come from one tokenizer. */
export function compareReplies(
  texts: [string, string],
  tokens: [readonly number[], readonly number[]],
): Agreement {
  const parting = commonStart(Array.from(texts[0]), Array.from(texts[1]));
  const before = Array.from(texts[0]).slice(0, parting).join('');
  // A word that differs is shown whole.
  const word = before.length - (/\S*$/.exec(before)?.[0].length ?? 0);
  const longest = Math.max(tokens[0].length, tokens[1].length);
  return {
    sharedStart: commonStart(tokens[0], tokens[1]),
    before: lastWords(before.slice(0, word)),
    first: firstWords(texts[0].slice(word)),
    second: firstWords(texts[1].slice(word)),
    share: longest === 0 ? 1 : commonLength(tokens[0], tokens[1]) / longest,
    tokens: [tokens[0].length, tokens[1].length],
  };
}
