/** The only file that talks to the server. */
import { readEvents } from './sse';
import { access } from './state/access.svelte';
import type { About, ChatSettings, Conversation, Message, Model, ReplyEvent } from './types';

/** The server refused: its sentence, and the status (0 when it could not be reached). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

async function refusal(response: Response): Promise<ApiError> {
  const text = await response.text().catch(() => '');
  try {
    return new ApiError(response.status, JSON.parse(text).error.message);
  } catch {
    return new ApiError(response.status, `The server answered ${response.status} ${response.statusText}`.trim());
  }
}

/** Asks for the key, and again for another one, as long as the server wants one. */
async function request(path: string, options: RequestInit = {}): Promise<Response> {
  for (;;) {
    const headers = new Headers(options.headers);
    if (access.key) headers.set('Authorization', `Bearer ${access.key}`);
    let response: Response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw new ApiError(0, 'The server cannot be reached. Is it still running?');
    }
    if (response.status === 401) {
      await access.ask(headers.has('Authorization'));
      continue;
    }
    if (!response.ok) throw await refusal(response);
    return response;
  }
}

async function json<T>(method: string, path: string, body?: unknown): Promise<T> {
  const options: RequestInit = { method };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers = { 'Content-Type': 'application/json' };
  }
  const response = await request(path, options);
  return response.status === 204 ? (undefined as T) : response.json();
}

const conversationPath = (id: string) => `/api/conversations/${encodeURIComponent(id)}`;
const replyPath = (id: string, message: string) => `${conversationPath(id)}/replies/${encodeURIComponent(message)}`;

export const about = () => json<About>('GET', '/api/about');

export const listModels = () => json<{ models: Model[]; default: string }>('GET', '/api/models');

export async function listConversations(query: string, limit: number, before?: number): Promise<Conversation[]> {
  const parameters = new URLSearchParams({ limit: String(limit) });
  if (query) parameters.set('query', query);
  if (before !== undefined) parameters.set('before', String(before));
  return (await json<{ conversations: Conversation[] }>('GET', `/api/conversations?${parameters}`)).conversations;
}

export const createConversation = (title: string, settings: ChatSettings) =>
  json<Conversation>('POST', '/api/conversations', { title, settings });

export const openConversation = (id: string) =>
  json<Conversation & { messages: Message[] }>('GET', conversationPath(id));

export const changeConversation = (
  id: string,
  changes: { title?: string; settings?: ChatSettings; head?: string | null },
) => json<Conversation>('PATCH', conversationPath(id), changes);

export const deleteConversation = (id: string) => json<void>('DELETE', conversationPath(id));

export const addMessage = (id: string, parent: string | null, content: string) =>
  json<Message>('POST', `${conversationPath(id)}/messages`, { parent, content });

/** Starts a reply, which the server then writes whether or not anybody listens. */
export const startReply = (id: string, parent: string, model: string, options: Record<string, unknown>) =>
  json<Message>('POST', `${conversationPath(id)}/replies`, { parent, model, ...options });

export const stopReply = (id: string, message: string) => json<Message>('POST', `${replyPath(id, message)}/stop`, {});

/** A reply as it is written, from a byte of its text on; ends when the reply does. */
export async function* followReply(
  id: string,
  message: string,
  from: number,
  signal: AbortSignal,
): AsyncGenerator<ReplyEvent> {
  const response = await request(`${replyPath(id, message)}?from=${from}`, {
    headers: { Accept: 'text/event-stream' },
    signal,
  });
  if (!response.body) return;
  for await (const data of readEvents(response.body)) {
    if (data === '[DONE]') return;
    const event = JSON.parse(data);
    if (event.error) throw new ApiError(response.status, event.error.message);
    yield event as ReplyEvent;
  }
}

export async function exportConversation(id: string, format: 'json' | 'markdown'): Promise<{ name: string; file: Blob }> {
  const response = await request(`${conversationPath(id)}/export?format=${format}`);
  const disposition = response.headers.get('Content-Disposition') ?? '';
  const name = /filename="([^"]+)"/.exec(disposition)?.[1] ?? `conversation.${format === 'json' ? 'json' : 'md'}`;
  return { name, file: await response.blob() };
}

export async function importConversation(file: File): Promise<Conversation> {
  const isMarkdown = /\.(md|markdown)$/i.test(file.name) || file.type === 'text/markdown';
  const response = await request('/api/import', {
    method: 'POST',
    headers: { 'Content-Type': isMarkdown ? 'text/markdown' : 'application/json' },
    body: await file.text(),
  });
  return response.json();
}

export const tokenize = async (model: string, content: string) =>
  (await json<{ tokens: number[] }>('POST', '/tokenize', { model, content })).tokens;
