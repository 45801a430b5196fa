/** The list of conversations. */
import * as api from '../api';
import type { Conversation } from '../types';

const kPageSize = 60;

class Library {
  conversations = $state<Conversation[]>([]);
  query = $state('');
  hasMore = $state(false);
  /** The server keeps no conversations: its own words. */
  unavailable = $state('');
  #asked = 0;

  async load(): Promise<void> {
    const asked = ++this.#asked;
    try {
      const found = await api.listConversations(this.query.trim(), kPageSize);
      if (asked !== this.#asked) return;
      this.conversations = found;
      this.hasMore = found.length === kPageSize;
      this.unavailable = '';
    } catch (error) {
      if (!(error instanceof api.ApiError) || error.status !== 404) throw error;
      this.unavailable = error.message;
    }
  }

  async loadMore(): Promise<void> {
    const older = await api.listConversations(this.query.trim(), kPageSize, this.conversations.at(-1)?.updated);
    const known = new Set(this.conversations.map(({ id }) => id));
    this.conversations.push(...older.filter(({ id }) => !known.has(id)));
    this.hasMore = older.length === kPageSize;
  }

  async rename(id: string, title: string): Promise<void> {
    const changed = await api.changeConversation(id, { title });
    const entry = this.conversations.find((conversation) => conversation.id === id);
    if (entry) entry.title = changed.title;
  }

  async remove(id: string): Promise<void> {
    await api.deleteConversation(id);
    this.conversations = this.conversations.filter((conversation) => conversation.id !== id);
  }

  async import(file: File): Promise<Conversation> {
    const imported = await api.importConversation(file);
    this.query = '';
    await this.load();
    return imported;
  }

  /** Hands the file to the browser, which saves it as a download. */
  async export(id: string, format: 'json' | 'markdown'): Promise<void> {
    const { name, file } = await api.exportConversation(id, format);
    const link = document.createElement('a');
    link.href = URL.createObjectURL(file);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }
}

export const library = new Library();
