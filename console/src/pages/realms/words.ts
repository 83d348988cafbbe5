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

/** A duration in the two largest units that it has: 1 h 59 min, 30 s. */
export function durationOf(ms: number): string {
  const seconds = Math.round(ms / 1000);
  const units: [number, string][] = [
    [86400, 'd'],
    [3600, 'h'],
    [60, 'min'],
    [1, 's'],
  ];
  const first = units.findIndex(([size]) => seconds >= size);
  if (first < 0) return ms > 0 ? `${Math.round(ms)} ms` : '0 s';
  const [size, name] = units[first] as [number, string];
  const second = units[first + 1];
  const rest = second ? Math.floor((seconds % size) / second[0]) : 0;
  return `${Math.floor(seconds / size)} ${name}${second && rest > 0 ? ` ${rest} ${second[1]}` : ''}`;
}
