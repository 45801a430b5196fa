const kEntities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** Text as HTML that shows it, also between quotes. */
export const escapeText = (text: string) => text.replace(/[&<>"']/g, (character) => kEntities[character]!);
