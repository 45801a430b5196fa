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

/** The end of the newest branch below a message: the message itself when nothing follows. */
export function newestLeaf(messages: readonly Message[], id: string): string {
  const newest = messages.findLast((message) => message.parent === id);
  return newest ? newestLeaf(messages, newest.id) : id;
}
