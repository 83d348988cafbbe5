import { afterEach, expect, test, vi } from 'vitest';
import { api, dataOf, getJSON, whenForbidden } from './client';
import { ApiError } from './error';

function answerWith(status: number, body: unknown, type = 'application/json') {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const call = vi.fn((_: Request) => Promise.resolve(new Response(text, { status, headers: { 'Content-Type': type } })));
  vi.stubGlobal('fetch', call);
  return call;
}

afterEach(() => {
  vi.unstubAllGlobals();
  whenForbidden(() => undefined);
});

test('a request is relative to the page and has the header that a cookie needs', async () => {
  window.location.href = 'https://proxy.test/tokens/#/realms';
  const call = answerWith(200, { data: { list: [], total: 0 }, success: 'ok' });
  await dataOf(api.GET('/api/realm', { params: { query: { page: 2 } } }));
  const request = call.mock.calls[0]?.[0];
  expect(request?.url).toBe('https://proxy.test/tokens/api/realm?page=2');
  expect(request?.headers.get('X-Tokens-CSRF')).toBe('1');
});

test('names are escaped in paths', async () => {
  const call = answerWith(200, { data: { id: 'a/b' }, success: 'ok' });
  await api.GET('/api/realm/{id}', { params: { path: { id: 'a/b?c' } } });
  expect(call.mock.calls[0]?.[0].url).toContain('/api/realm/a%2Fb%3Fc');
});

test('a problem document is thrown with its code, field and detail', async () => {
  answerWith(400, { code: 'invalid_field', field: 'config.url', detail: 'url is missing' }, 'application/problem+json');
  const error = await getJSON('api/realm').catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(ApiError);
  expect(error).toMatchObject({ status: 400, code: 'invalid_field', field: 'config.url', detail: 'url is missing' });
});

test('the page of a proxy in front is no problem document', async () => {
  answerWith(502, '<h1>Bad Gateway</h1>', 'text/html');
  await expect(getJSON('api/realm')).rejects.toMatchObject({ status: 502, code: 'unknown', detail: 'HTTP 502' });
});

test('no answer at all is an error of its own', async () => {
  vi.stubGlobal('fetch', () => Promise.reject(new TypeError('failed to fetch')));
  await expect(getJSON('api/realm')).rejects.toMatchObject({ status: 0, code: 'unreachable' });
});

// The page to sign in asked for the session again and again: each answer of 403
// had the session asked for once more.
test('403 is told, but not that of the session itself', async () => {
  const told = vi.fn();
  whenForbidden(told);
  answerWith(403, { code: 'forbidden' });
  await expect(getJSON('api/session')).rejects.toBeInstanceOf(ApiError);
  await expect(getJSON('api/session?realm=r')).rejects.toBeInstanceOf(ApiError);
  expect(told).not.toHaveBeenCalled();
  await expect(getJSON('api/audit')).rejects.toBeInstanceOf(ApiError);
  expect(told).toHaveBeenCalledOnce();
});
