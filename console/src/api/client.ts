import createClient from 'openapi-fetch';
import { ApiError, errorOf } from './error';
import type { components, paths } from './schema';

export type Schemas = components['schemas'];

// Called after an answer of 403: the session may have ended.
let onForbidden: () => void = () => undefined;

export function whenForbidden(call: () => void) {
  onForbidden = call;
}

// anySession is for requests that mean whichever session the browser has.
const anySession = '1';

// Which session this page shows: its token; null for somebody who is let in
// without one.
let shown: string | null = anySession;

// meanSession says which session all requests from now on are meant for: another
// tab may have signed in as somebody else. Without an argument, any.
export function meanSession(token: string | null = anySession) {
  shown = token;
}

// send is fetch for the API: a session's cookie counts only with X-Tokens-CSRF,
// which says for which session the request is meant. Every answer but 2xx is
// thrown as an ApiError.
export async function send(input: string | Request, init?: RequestInit): Promise<Response> {
  const request = new Request(input, { credentials: 'same-origin', cache: 'no-store', ...init });
  if (isForAnySession(request)) {
    request.headers.set('X-Tokens-CSRF', anySession);
  } else if (shown !== null) {
    request.headers.set('X-Tokens-CSRF', shown);
  }
  let response: Response;
  try {
    response = await fetch(request);
  } catch (error) {
    if (request.signal.aborted) {
      throw error;
    }
    throw new ApiError(0, {});
  }
  if (response.ok) {
    return response;
  }
  // The session itself is asked for by whoever is told.
  if (response.status === 403 && !/\/api\/session(\?|$)/.test(request.url)) {
    onForbidden();
  }
  throw await errorOf(response);
}

// isForAnySession reports whether a request asks who is signed in, or signs in.
const isForAnySession = ({ method, url }: Request) => method !== 'DELETE' && /\/api\/session$/.test(url);

// api calls the routes of openapi.json, with types. URLs are relative, so that
// the console works below any path. Values of paths are escaped.
//
//	const { list, total } = await dataOf(api.GET('/api/realm', { params: { query: { page: 1 } }, signal }));
export const api = createClient<paths>({ baseUrl: './', fetch: send });

// dataOf returns the `data` of an answer.
export async function dataOf<T>(call: Promise<{ data?: { data: T } | undefined }>): Promise<T> {
  const { data } = await call;
  if (!data) {
    throw new ApiError(0, {});
  }
  return data.data;
}

// Page is one page of a list, and the number of items on all pages.
export interface Page<T> {
  data: { list: T[]; total: number };
}

// getJSON and sendJSON are for what is built from parts, or not an answer with
// `data` in it. path is relative: `api/session`.
export async function getJSON<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await (await send(`./${path}`, signal ? { signal } : {})).json()) as T;
}

export async function sendJSON<T>(method: 'POST' | 'DELETE', path: string, body?: unknown, headers?: Record<string, string>): Promise<T> {
  const init: RequestInit = { method };
  if (headers) init.headers = headers;
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { ...headers, 'Content-Type': 'application/json' };
  }
  return (await (await send(`./${path}`, init)).json()) as T;
}

// getLines asks for an answer line by line.
export const getLines = (method: 'GET' | 'POST', path: string, signal: AbortSignal) =>
  send(`./${path}`, { method, headers: { Accept: 'application/x-ndjson' }, signal });
