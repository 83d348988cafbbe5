import { expect, test } from 'vitest';
import { follow, newRun, percent, type Run } from './run';

// answer sends bytes in pieces of a size: a network cuts lines and characters.
function answer(text: string, size: number): Response {
  const bytes = new TextEncoder().encode(text);
  return new Response(
    new ReadableStream({
      start(c) {
        for (let at = 0; at < bytes.length; at += size) c.enqueue(bytes.slice(at, at + size));
        c.close();
      },
    }),
  );
}

const lines = [
  '{"key":"甲","result":"ok"}',
  '{"key":"b","result":"skipped","reason":"the token is still fresh"}',
  '{"key":"c","result":"failed","reason":"密码错误\\n second line"}',
  '{"total":3,"ok":1,"skipped":1,"failed":1}',
];
const all = lines.join('\n') + '\n';

async function run(text: string, size: number): Promise<{ end: Run; seen: Run[] }> {
  const seen: Run[] = [];
  const end = await follow(
    newRun('jd', 'init', 3, 0),
    () => Promise.resolve(answer(text, size)),
    (r) => seen.push(r),
    new AbortController().signal,
    () => 5,
    0,
  );
  return { end, seen };
}

test.each([1, 2, 3, 7, 1000])('lines that are cut into pieces of %d bytes', async (size) => {
  const { end, seen } = await run(all, size);
  expect(end.state).toBe('done');
  expect(end.counts).toEqual({ ok: 1, skipped: 1, failed: 1 });
  expect(end.results.map((r) => r.key)).toEqual(['甲', 'b', 'c']);
  expect(end.results[2]!.reason).toBe('密码错误\n second line');
  // It is shown how far it is, line by line.
  expect(seen.map((r) => r.results.length)).toEqual([0, 1, 2, 3, 3, 3]);
  expect(seen.map(percent)).toEqual([0, 33, 66, 99, 99, 100]);
});

test.each([
  ['without its last line', lines.slice(0, 2).join('\n') + '\n', 'cut', 2],
  ['within a line', all.slice(0, 40), 'cut', 1],
  ['before the first line', '', 'cut', 0],
])('an answer that ends %s was cut', async (_, text, state, count) => {
  const { end } = await run(text, 16);
  expect(end.state).toBe(state);
  expect(end.results).toHaveLength(count);
  expect(percent(end)).toBeLessThan(100);
});

test('a refusal is no report', async () => {
  const refusal = new Error('forbidden');
  const end = await follow(
    newRun('jd', 'refresh', 3, 0),
    () => Promise.reject(refusal),
    () => undefined,
    new AbortController().signal,
  );
  expect(end).toMatchObject({ state: 'failed', error: refusal, results: [] });
});

test('what is stopped keeps its results', async () => {
  const control = new AbortController();
  const open = () =>
    Promise.resolve(
      new Response(
        new ReadableStream({
          start(c) {
            c.enqueue(new TextEncoder().encode(lines[0] + '\n'));
            control.signal.addEventListener('abort', () => c.error(new DOMException('stopped', 'AbortError')));
          },
        }),
      ),
    );
  const end = await follow(
    newRun('jd', 'init', 3, 0),
    open,
    (r) => r.results.length === 1 && control.abort(),
    control.signal,
    () => 5,
    0,
  );
  expect(end).toMatchObject({ state: 'stopped', counts: { ok: 1, skipped: 0, failed: 0 } });
});
