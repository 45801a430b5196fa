/** What is measured while a reply is written. */
import { countWords } from '../format';

export class Live {
  progress = $state<{ processed: number; total: number } | null>(null);
  /** Seconds from asking to the first text; null until it came, and when the start was not seen. */
  firstText = $state<number | null>(null);
  wordsPerSecond = $state(0);
  #asked: number | null;
  #since = 0;
  #wordsBefore = 0;

  /** `asked` is when the reply was asked for, by performance.now(); null when it was found in work. */
  constructor(asked: number | null) {
    this.#asked = asked;
  }

  /** Tells of the text so far, before and after a part arrived. */
  textCame(before: string, after: string): void {
    const now = performance.now();
    if (this.#since === 0) {
      this.#since = now;
      this.#wordsBefore = countWords(before);
      if (this.#asked !== null) this.firstText = (now - this.#asked) / 1000;
      return;
    }
    const seconds = (now - this.#since) / 1000;
    if (seconds > 0.3) this.wordsPerSecond = (countWords(after) - this.#wordsBefore) / seconds;
  }
}
