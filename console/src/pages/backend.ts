import { getJSON, send, sendJSON } from '../api/client';
import { ApiError } from '../api/error';

export interface Page<T> {
  data: { list: T[]; total: number };
}

export type Query = Record<string, string | number | boolean | undefined>;

// withQuery puts parameters behind a path; those that are empty are left out.
export function withQuery(path: string, query: Query): string {
  const q = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== '') q.set(name, String(value));
  }
  const text = q.toString();
  return text ? `${path}?${text}` : path;
}

export const get = <T>(path: string, query: Query = {}, signal?: AbortSignal) => getJSON<T>(withQuery(path, query), signal);
export const post = <T>(path: string, body: unknown) => sendJSON<T>('POST', path, body);
export const del = (path: string) => sendJSON<unknown>('DELETE', path);

// lines asks for an answer line by line.
export const lines = (method: 'GET' | 'POST', path: string, signal: AbortSignal) =>
  send(`./${path}`, { method, headers: { Accept: 'application/x-ndjson' }, signal });

// exists reports whether there is what the path names. POST creates or updates:
// something new must not replace what has the same id.
export async function exists(path: string): Promise<boolean> {
  try {
    await getJSON(path);
    return true;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return false;
    throw error;
  }
}

// taken is the refusal of an id that is taken.
export const taken = (field: string, detail: string) => new ApiError(409, { status: 409, code: 'conflict', field, detail });
