/** Numbers and times as people read them. */
import type { Model } from './types';

export function formatBytes(bytes: number): string {
  if (bytes < 1e6) return `${Math.round(bytes / 1e3)} kB`;
  if (bytes < 1e9) return `${Math.round(bytes / 1e6)} MB`;
  return `${(bytes / 1e9).toFixed(bytes < 1e10 ? 2 : 1)} GB`;
}

export function formatSeconds(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/** Names of formats and devices as people write them: CPU, GPU:0, AWQ, GGUF; safetensors. */
export const formatName = (name: string) => (name.length <= 5 ? name.toUpperCase() : name);

/** What is known of a model before it is used: "103 MB · AWQ · CPU". */
export const formatModel = ({ size_bytes, format, device }: Model) =>
  [size_bytes === null ? '' : formatBytes(size_bytes), formatName(format ?? ''), formatName(device)].filter(Boolean).join(' · ');

/** Three figures at most: 0.42, 6.1, 38, 1240. */
export function formatRate(rate: number): string {
  if (rate >= 10) return String(Math.round(rate));
  return rate.toFixed(rate >= 1 ? 1 : 2);
}

export const formatCount = (count: number, one: string) => `${count.toLocaleString('en')} ${one}${count === 1 ? '' : 's'}`;

export const countWords = (text: string) => text.match(/\S+/g)?.length ?? 0;

/** The day a conversation was last used, as a heading of the list. */
export function formatDay(unixSeconds: number, now = new Date()): string {
  const then = new Date(unixSeconds * 1000);
  const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  const days = Math.ceil((midnight - then.getTime()) / 86_400_000);
  if (days <= 0) return 'Today';
  if (days === 1) return 'Yesterday';
  if (days < 7) return 'This week';
  return then.toLocaleDateString('en', { month: 'long', year: 'numeric' });
}
