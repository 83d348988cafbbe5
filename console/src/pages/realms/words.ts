export type Language = 'en' | 'zh';

/** Where the page of a realm is. */
export function realmPath(id: string): string {
  return `/realms/${encodeURIComponent(id)}`;
}

/** Where the page of a secret is. */
export function secretPath(realm: string, key: string): string {
  return `/secrets/${encodeURIComponent(realm)}/${encodeURIComponent(key)}`;
}

/** A sentence of the catalogue with `code` in it, cut into text and code by turns. */
export function cutCode(text: string): string[] {
  return text.split('`');
}

const units = {
  en: ['d', 'h', 'min', 's', 'ms'],
  zh: ['天', '小时', '分钟', '秒', '毫秒'],
} as const;
const sizes = [86400, 3600, 60, 1];

/** A duration in the two largest units that it has: 1 h 59 min, 30 s. */
export function durationOf(ms: number, language: string): string {
  const names = units[language as Language] ?? units.en;
  const seconds = Math.round(ms / 1000);
  const first = sizes.findIndex((size) => seconds >= size);
  if (first < 0) return ms > 0 ? `${Math.round(ms)} ${names[4]}` : `0 ${names[3]}`;
  const size = sizes[first] ?? 1;
  const next = sizes[first + 1];
  const rest = next === undefined ? 0 : Math.floor((seconds % size) / next);
  return `${Math.floor(seconds / size)} ${names[first]}${rest > 0 ? ` ${rest} ${names[first + 1]}` : ''}`;
}
