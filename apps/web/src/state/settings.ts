/** Settings of a chat: those a new one begins with, and presets of sampling. */
import type { ChatSettings, Sampling } from '../types';

const kDefaults = 'salient.settings';
const kPresets = 'salient.presets';

export const kServerSampling: Sampling = {
  temperature: null,
  top_p: null,
  top_k: null,
  min_p: null,
  max_tokens: null,
  seed: null,
};

export interface Preset {
  name: string;
  sampling: Sampling;
}

export const kBuiltInPresets: readonly Preset[] = [
  { name: 'As the server', sampling: kServerSampling },
  { name: 'Exact', sampling: { ...kServerSampling, temperature: 0 } },
  { name: 'Balanced', sampling: { ...kServerSampling, temperature: 0.7, top_p: 0.95 } },
  { name: 'Inventive', sampling: { ...kServerSampling, temperature: 1.1, top_p: 0.98 } },
];

function read<T>(key: string, otherwise: T): T {
  try {
    return JSON.parse(localStorage.getItem(key) ?? '') as T;
  } catch {
    return otherwise;
  }
}

/** Fills what a conversation's settings leave out: they may come from another program. */
export function complete(settings: Partial<ChatSettings>): ChatSettings {
  return {
    model: settings.model ?? '',
    system: settings.system ?? '',
    sampling: { ...kServerSampling, ...settings.sampling },
    beside: settings.beside ?? null,
  };
}

export function defaultSettings(): ChatSettings {
  return { ...complete(read<Partial<ChatSettings>>(kDefaults, {})), beside: null };
}

export function keepAsDefault(settings: ChatSettings): void {
  localStorage.setItem(kDefaults, JSON.stringify({ ...settings, beside: null }));
}

export const ownPresets = () => read<Preset[]>(kPresets, []);

export function keepPresets(presets: readonly Preset[]): void {
  localStorage.setItem(kPresets, JSON.stringify(presets));
}

export const isSameSampling = (first: Sampling, second: Sampling) =>
  (Object.keys(kServerSampling) as (keyof Sampling)[]).every((field) => first[field] === second[field]);
