/** The key of a server that wants one. It is kept as long as the tab is open. */
const kStored = 'salient.key';

class Access {
  key = $state(sessionStorage.getItem(kStored) ?? '');
  /** The server wants a key: the dialog is open. */
  asked = $state(false);
  /** The key that was sent is not one of the server's. */
  refused = $state(false);
  #waiting: (() => void)[] = [];

  /** Waits for a key to be given. `sent` says that the request which was refused had one. */
  ask(sent: boolean): Promise<void> {
    this.asked = true;
    this.refused = sent;
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  give(key: string): void {
    this.key = key;
    sessionStorage.setItem(kStored, key);
    this.asked = false;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

export const access = new Access();
