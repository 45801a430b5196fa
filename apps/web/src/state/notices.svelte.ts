/** What the page has to say: errors that stay until dismissed, and sentences for screen readers. */
class Notices {
  error = $state('');
  /** Read aloud when it changes. */
  spoken = $state('');

  fail(error: unknown): void {
    this.error = error instanceof Error ? error.message : String(error);
  }

  say(sentence: string): void {
    this.spoken = sentence;
  }

  /** Runs what a person asked for; a failure is shown. */
  async attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      this.fail(error);
      return undefined;
    }
  }
}

export const notices = new Notices();
