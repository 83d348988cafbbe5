import { afterEach, expect, it, vi } from 'vitest';
import { flush } from './api';

afterEach(() => vi.unstubAllGlobals());

// A browser never holds a token. The answer is asked for without it; and should
// one be in it, nothing may read it.
it('asks for no token, and reads none', async () => {
  const read: unknown[] = [];
  const answer = { token: 'CANARY', expires_in: 7_200_000, expires_at: 1, source: 'upstream', lineage: 5 };
  const watched = new Proxy(answer, {
    get: (target, name) => {
      read.push(name);
      return Reflect.get(target, name) as unknown;
    },
    ownKeys: () => {
      throw new Error('all of the answer was read');
    },
  });
  const call = vi.fn((_: Request) => Promise.resolve(Object.assign(new Response(), { json: () => Promise.resolve(watched) })));
  vi.stubGlobal('fetch', call);
  expect(await flush('shop', 'main')).toEqual({ expires_in: 7_200_000, lineage: 5 });
  expect(call.mock.calls[0]?.[0].headers.get('Prefer')).toBe('return=minimal');
  expect(read).not.toContain('token');
});
