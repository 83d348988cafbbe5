export type Query = Record<string, string | number | boolean | undefined>;

// pathOf is the path of something below /api, with each of its parts escaped.
export function pathOf(...parts: string[]): string {
  return ['api', ...parts.map(encodeURIComponent)].join('/');
}

// withQuery puts parameters behind a path; those that are empty are left out.
export function withQuery(path: string, query: Query): string {
  const q = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== '') q.set(name, String(value));
  }
  const text = q.toString();
  return text ? `${path}?${text}` : path;
}
