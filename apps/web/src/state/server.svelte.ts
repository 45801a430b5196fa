/** The server's models and what it says about itself. */
import * as api from '../api';
import type { About, Model } from '../types';

const kPollMilliseconds = 1000;

class Server {
  models = $state<Model[]>([]);
  defaultModel = $state('');
  about = $state<About | null>(null);
  #polls = 0;

  readonly readingSpeed = $derived(this.about?.read_words_per_second ?? 5);

  async load(): Promise<void> {
    await Promise.all([this.refresh(), api.about().then((about) => (this.about = about))]);
  }

  async refresh(): Promise<void> {
    const answer = await api.listModels();
    this.models = answer.models;
    this.defaultModel = answer.default;
  }

  model(id: string): Model | undefined {
    return this.models.find((model) => model.id === id);
  }

  /** The model with this name, or else the default. */
  known(id: string): string {
    return this.model(id) ? id : this.defaultModel;
  }

  /** Keeps the states of the models up to date while `work` goes on. */
  async watch<T>(work: Promise<T>): Promise<T> {
    ++this.#polls;
    if (this.#polls === 1) void this.#poll();
    try {
      return await work;
    } finally {
      --this.#polls;
      void this.refresh().catch(() => {});
    }
  }

  async #poll(): Promise<void> {
    while (this.#polls > 0) {
      await this.refresh().catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, kPollMilliseconds));
    }
  }
}

export const server = new Server();
