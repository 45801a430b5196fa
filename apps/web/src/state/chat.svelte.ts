/** The conversation that is open, with one model or side by side with two. */
import * as api from '../api';
import { newestLeaf, pathTo, siblingsOf } from '../tree';
import type { ChatSettings, Message } from '../types';
import { library } from './library.svelte';
import { Live } from './live.svelte';
import { notices } from './notices.svelte';
import { server } from './server.svelte';
import { complete, defaultSettings, keepAsDefault } from './settings';

const kTitleCharacters = 60;
const kMostRetries = 8;

const bytesOf = (text: string) => new TextEncoder().encode(text).length;
const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function titleOf(prompt: string): string {
  const line = prompt.trim().split('\n')[0]!;
  return line.length <= kTitleCharacters ? line : `${line.slice(0, kTitleCharacters).replace(/\s+\S*$/, '')}…`;
}

/** The first pane is the conversation's own; the second has its model and end in `settings.beside`. */
export type PaneIndex = 0 | 1;

class Chat {
  id = $state<string | null>(null);
  title = $state('');
  settings = $state<ChatSettings>(defaultSettings());
  messages = $state<Message[]>([]);
  head = $state<string | null>(null);
  /** By the id of the reply. */
  live = $state<Record<string, Live>>({});
  /** The person's message that is being rewritten. */
  editing = $state<string | null>(null);
  #followed = new AbortController();
  /** Counts, so that of two that are opened at once the later one is shown. */
  #openings = 0;
  #saving: ReturnType<typeof setTimeout> | undefined;

  readonly panes: PaneIndex[] = $derived(this.settings.beside ? [0, 1] : [0]);
  readonly writing = $derived(
    this.panes.flatMap((pane) => this.path(pane).filter((message) => message.state === 'writing')),
  );

  modelOf(pane: PaneIndex): string {
    return server.known(pane === 0 ? this.settings.model : (this.settings.beside?.model ?? ''));
  }

  headOf(pane: PaneIndex): string | null {
    return pane === 0 ? this.head : (this.settings.beside?.head ?? null);
  }

  path(pane: PaneIndex): Message[] {
    return pathTo(this.messages, this.headOf(pane));
  }

  /** The alternatives of a message; side by side, those of its own model. */
  siblings(message: Message): Message[] {
    const siblings = siblingsOf(this.messages, message);
    return this.settings.beside ? siblings.filter(({ model }) => model === message.model) : siblings;
  }

  /** An empty page; nothing is kept until something is said. */
  startNew(): void {
    ++this.#openings;
    this.#leave();
    this.id = null;
    this.title = '';
    this.messages = [];
    this.head = null;
    this.settings = defaultSettings();
  }

  /** Shows a conversation, and goes on with replies that are still being written. */
  async open(id: string): Promise<void> {
    if (id === this.id) return;
    const opening = ++this.#openings;
    const { messages, ...conversation } = await api.openConversation(id);
    if (opening !== this.#openings) return;
    this.#leave();
    this.id = id;
    this.title = conversation.title;
    this.messages = messages;
    this.head = conversation.head;
    this.settings = complete(conversation.settings);
    // An imported conversation has other ids than the one that was exported.
    const end = this.settings.beside?.head;
    if (end && !messages.some((message) => message.id === end)) this.settings.beside = null;
    for (const message of messages) {
      if (message.state === 'writing') this.#follow(message.id, null);
    }
  }

  /** Says something and has it answered, by both models when there are two. */
  async send(content: string): Promise<void> {
    await this.#create(content);
    const parents = this.panes.map((pane) => this.headOf(pane));
    const shared = parents.length === 2 && parents[0] === parents[1];
    // The server shows what was added last: the first pane's comes last.
    let said: string | null = null;
    for (const pane of [...this.panes].reverse()) {
      said = shared && said !== null ? said : await this.#say(parents[pane]!, content);
      await this.#answer(pane, said);
    }
    void library.load().catch(() => {});
  }

  async edit(pane: PaneIndex, message: Message, content: string): Promise<void> {
    this.editing = null;
    await this.#answer(pane, await this.#say(message.parent, content));
  }

  /** Another reply to the same message, by the model that is chosen now. */
  async regenerate(pane: PaneIndex, reply: Message): Promise<void> {
    await this.#answer(pane, reply.parent!);
  }

  async stop(): Promise<void> {
    await Promise.all(this.writing.map(async ({ id }) => this.#replace(await api.stopReply(this.id!, id))));
  }

  /** Goes to another branch: to the end of the newest one below `message`. */
  async show(pane: PaneIndex, message: Message): Promise<void> {
    const leaf = newestLeaf(this.messages, message.id);
    this.#setHead(pane, leaf);
    if (pane === 0) await api.changeConversation(this.id!, { head: leaf });
    else this.changeSettings({});
  }

  /** A second model beside the first, from here on; null: the first alone again. */
  setBeside(model: string | null): void {
    this.changeSettings({ beside: model === null ? null : { model, head: this.settings.beside?.head ?? this.head } });
  }

  setModel(pane: PaneIndex, model: string): void {
    if (pane === 0) this.changeSettings({ model });
    else this.changeSettings({ beside: { model, head: this.headOf(1) } });
  }

  changeSettings(changes: Partial<ChatSettings>): void {
    this.settings = { ...this.settings, ...changes };
    keepAsDefault(this.settings);
    clearTimeout(this.#saving);
    const id = this.id;
    if (id === null) return;
    const settings = $state.snapshot(this.settings);
    this.#saving = setTimeout(() => void notices.attempt(() => api.changeConversation(id, { settings })), 300);
  }

  async #create(content: string): Promise<void> {
    if (this.id !== null) return;
    const settings = $state.snapshot(this.settings);
    const created = await api.createConversation(titleOf(content), settings);
    this.id = created.id;
    this.title = created.title;
    history.pushState(null, '', `#/c/${created.id}`);
  }

  async #say(parent: string | null, content: string): Promise<string> {
    const message = await api.addMessage(this.id!, parent, content);
    this.messages.push(message);
    return message.id;
  }

  async #answer(pane: PaneIndex, parent: string): Promise<void> {
    this.#setHead(pane, parent);
    const { system, sampling } = this.settings;
    const options: Record<string, unknown> = { ...sampling, ...(system.trim() ? { system } : {}) };
    for (const [name, value] of Object.entries(options)) if (value === null) delete options[name];
    const asked = performance.now();
    const reply = await api.startReply(this.id!, parent, this.modelOf(pane), options);
    this.messages.push(reply);
    this.#setHead(pane, reply.id);
    if (pane === 1) this.changeSettings({});
    this.#follow(reply.id, asked);
    notices.say(`${reply.model || 'The model'} is replying.`);
  }

  #setHead(pane: PaneIndex, head: string): void {
    if (pane === 0) this.head = head;
    else if (this.settings.beside) this.settings.beside.head = head;
  }

  #replace(message: Message): void {
    const at = this.messages.findIndex(({ id }) => id === message.id);
    if (at >= 0) this.messages[at] = message;
  }

  #follow(id: string, asked: number | null): void {
    this.live[id] = new Live(asked);
    void server.watch(this.#read(this.id!, id, this.#followed.signal)).catch((error) => notices.fail(error));
  }

  /** Reads a reply to its end; a connection that breaks is made anew from where it broke. */
  async #read(conversation: string, id: string, signal: AbortSignal): Promise<void> {
    for (let retries = 0; !signal.aborted; ++retries) {
      const message = this.messages.find((candidate) => candidate.id === id);
      if (!message || message.state !== 'writing') return;
      try {
        await this.#readOnce(conversation, message, signal);
      } catch (error) {
        if (signal.aborted) return;
        const isFinal = error instanceof api.ApiError && error.status !== 0;
        if (isFinal || retries >= kMostRetries) throw error;
      }
      if (message.state === 'writing') await pause(Math.min(250 * 2 ** retries, 5000));
    }
  }

  async #readOnce(conversation: string, message: Message, signal: AbortSignal): Promise<void> {
    const live = this.live[message.id]!;
    let end = bytesOf(message.content);
    let reasoning = '';
    for await (const event of api.followReply(conversation, message.id, end, signal)) {
      if (signal.aborted) return;
      if ('content' in event) {
        if (event.offset !== end) throw new api.ApiError(0, 'A part of the reply got lost on its way');
        end += bytesOf(event.content);
        const before = message.content;
        message.content += event.content;
        live.textCame(before, message.content);
      } else if ('reasoning' in event) {
        // A stream begins with all of it.
        reasoning += event.reasoning;
        message.reasoning = reasoning;
      } else if ('prompt_progress' in event) {
        live.progress = event.prompt_progress;
      } else {
        Object.assign(message, event.message);
        this.#announce(event.message);
      }
    }
  }

  #announce(message: Message): void {
    if (message.state === 'failed') notices.say(`The reply failed: ${message.error}`);
    else notices.say(`${message.state === 'stopped' ? 'Stopped' : 'Reply complete'}: ${message.content}`);
  }

  /** Stops listening, not writing: the server goes on. */
  #leave(): void {
    this.#followed.abort();
    this.#followed = new AbortController();
    this.live = {};
    this.editing = null;
  }
}

export const chat = new Chat();
