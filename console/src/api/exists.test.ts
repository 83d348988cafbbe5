import { afterEach, expect, test, vi } from 'vitest';
import { exists } from './exists';

afterEach(() => vi.unstubAllGlobals());

// listOf answers as the API does: page by page, with all that contain the keyword.
function listOf(ids: string[]) {
  const asked: string[] = [];
  vi.stubGlobal('fetch', ({ url }: Request) => {
    const { searchParams, pathname } = new URL(url);
    asked.push(pathname);
    const found = ids.filter((id) => id.includes(searchParams.get('keyword') ?? ''));
    const [page, size] = [Number(searchParams.get('page')), Number(searchParams.get('pageSize'))];
    return Promise.resolve(Response.json({ data: { list: found.slice((page - 1) * size, page * size).map((id) => ({ id })), total: found.length } }));
  });
  return asked;
}
const is = (id: string) => (item: { id: string }) => item.id === id;

test('what only contains the keyword is something else', async () => {
  listOf(['shop-1', 'my-shop']);
  expect(await exists('api/realm', { keyword: 'shop' }, is('shop'))).toBe(false);
});

test('it may be on a later page', async () => {
  const asked = listOf([...Array.from({ length: 250 }, (_, i) => `shop-${i}`), 'shop']);
  expect(await exists('api/realm', { keyword: 'shop' }, is('shop'))).toBe(true);
  expect(asked).toHaveLength(3);
});
