/** What the server's /api routes speak. */

export interface Conversation {
  id: string;
  title: string;
  /** Unix seconds. */
  created: number;
  updated: number;
  settings: Partial<ChatSettings>;
  head: string | null;
  /** Where a search found its words. */
  matches?: string;
}

export interface Timings {
  prompt_n: number;
  prompt_ms: number;
  cache_n?: number;
  predicted_n: number;
  predicted_ms: number;
  predicted_per_second: number;
}

export interface Message {
  id: string;
  parent: string | null;
  role: 'user' | 'assistant';
  content: string;
  reasoning: string;
  model: string;
  state: 'complete' | 'writing' | 'stopped' | 'failed';
  error: string;
  created: number;
  timings: Timings | null;
  finish_reason: string | null;
}

export interface Model {
  id: string;
  name: string;
  /** Null, as the format and the context, when its files cannot be read. */
  size_bytes: number | null;
  format: string | null;
  device: string;
  state: 'loaded' | 'loading' | 'not loaded';
  context: number | null;
}

export interface About {
  version: string;
  commit: string;
  instruction_set: string;
  read_words_per_second: number;
}

export type ReplyEvent =
  | { content: string; offset: number }
  | { reasoning: string }
  | { prompt_progress: { processed: number; total: number } }
  | { message: Message };

/** Fields of a request; null leaves the choice to the server. */
export interface Sampling {
  temperature: number | null;
  top_p: number | null;
  top_k: number | null;
  min_p: number | null;
  max_tokens: number | null;
  seed: number | null;
}

/** What the page keeps with a conversation. */
export interface ChatSettings {
  model: string;
  system: string;
  sampling: Sampling;
  /** The second model of a conversation that is had with two, and the end of its replies. */
  beside: { model: string; head: string | null } | null;
}
