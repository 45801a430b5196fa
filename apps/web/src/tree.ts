/** The messages of a conversation form a tree: an edit or another reply is one more child of the same parent. */
import type { Message } from './types';

/** From the first message to `head`. */
export function pathTo(messages: readonly Message[], head: string | null): Message[] {
  const byId = new Map(messages.map((message) => [message.id, message]));
  const path: Message[] = [];
  for (let at = head === null ? undefined : byId.get(head); at; at = at.parent === null ? undefined : byId.get(at.parent)) {
    path.push(at);
  }
  return path.reverse();
}

/** The message and its alternatives, oldest first. */
export function siblingsOf(messages: readonly Message[], message: Message): Message[] {
  return messages.filter((other) => other.parent === message.parent && other.role === message.role);
}

/** The newest message below a message, which ends the branch that was last gone on with; itself when nothing follows. */
export function newestLeaf(messages: readonly Message[], id: string): string {
  const below = new Set([id]);
  let newest = id;
  for (const message of messages) {
    if (message.parent === null || !below.has(message.parent)) continue;
    below.add(message.id);
    newest = message.id;
  }
  return newest;
}
