import { describe, expect, it, vi } from 'vitest';
import { type Item, readSecrets, reportRows, type Result, sendAll } from './bulk';
import { parseTable } from './csv';

const help = { en: '', zh: '' };
const fields = [
  { name: 'appid', required: true, confidential: false, help },
  { name: 'appsecret', required: true, confidential: true, help },
  { name: 'scope', required: false, confidential: false, default: 'x', help },
  { name: 'ticket', required: true, confidential: true, pushed: true, help },
];
const read = (text: string, given?: string[]) => readSecrets(parseTable(text), fields, given);

describe('readSecrets', () => {
  it('makes a secret of each line', () => {
    const reading = read('Key,appid,appsecret,other\na,1,2,\nb,3,4,5');
    expect(reading.items).toEqual([
      { line: 2, key: 'a', fields: { appid: '1', appsecret: '2' } },
      { line: 3, key: 'b', fields: { appid: '3', appsecret: '4', other: '5' } },
    ]);
    expect(reading.unknown).toEqual(['other']);
    expect(reading.faults).toEqual([]);
  });

  it('tells what is wrong with a line, and takes the others', () => {
    const reading = read('key,appid,appsecret\na,1,2\n,1,2\nb/c,1,2\na,1,2\nd,1,\ne,1,2,3\nf,1,2');
    expect(reading.items.map((i) => i.key)).toEqual(['a', 'f']);
    expect(reading.faults.map((f) => [f.line, f.code, f.field])).toEqual([
      [3, 'no_key', undefined],
      [4, 'bad_key', undefined],
      [5, 'twice_key', undefined],
      [6, 'no_value', 'appsecret'],
      [7, 'too_many_cells', undefined],
    ]);
  });

  it('does not ask for a field that the realm has', () => {
    expect(read('key,appid\na,1').faults).toHaveLength(1);
    expect(read('key,appid\na,1', ['appsecret']).items).toHaveLength(1);
  });

  it('sends nothing of a table without a key, with a column twice, or cut in a quotation', () => {
    for (const [text, code] of [
      ['appid,appsecret\n1,2', 'no_key_column'],
      ['key,appid,appid\na,1,2', 'twice_column'],
      ['key,appid\na,1\nb,"2', 'open_quote'],
    ] as const) {
      const reading = read(text);
      expect(reading.items).toEqual([]);
      expect(reading.faults.map((f) => f.code)).toEqual([code]);
    }
  });

  it('reads 2,000 lines at once', () => {
    const lines = Array.from({ length: 2000 }, (_, i) => `k${i},id${i},"s""${i}"`);
    const begin = performance.now();
    expect(read(['key,appid,appsecret', ...lines].join('\r\n')).items).toHaveLength(2000);
    expect(performance.now() - begin).toBeLessThan(1000);
  });
});

describe('sendAll', () => {
  const items: Item[] = Array.from({ length: 20 }, (_, i) => ({ line: i + 2, key: `k${i}`, fields: {} }));
  const saved = (item: Item): Result => ({ line: item.line, key: item.key, outcome: 'saved' });

  it('sends each once, and no more than so many at a time', async () => {
    let running = 0;
    let most = 0;
    const results: Result[] = [];
    await sendAll(
      items,
      async (item) => {
        most = Math.max(most, ++running);
        await Promise.resolve();
        running--;
        return saved(item);
      },
      { concurrency: 4, signal: new AbortController().signal, onResult: (r) => results.push(r) },
    );
    expect(most).toBe(4);
    expect(results.map((r) => r.key).sort()).toEqual(items.map((i) => i.key).sort());
  });

  it('sends nothing new after a stop, and reports what was not sent', async () => {
    const stop = new AbortController();
    const results: Result[] = [];
    const send = vi.fn(async (item: Item) => {
      if (item.key === 'k5') stop.abort();
      return saved(item);
    });
    await sendAll(items, send, { concurrency: 2, signal: stop.signal, onResult: (r) => results.push(r) });
    expect(send.mock.calls.length).toBeLessThanOrEqual(7);
    expect(results).toHaveLength(20);
    expect(results.filter((r) => r.outcome === 'stopped')).toHaveLength(20 - send.mock.calls.length);
  });
});

it('reports without values', () => {
  const outcomes = { saved: 'saved', held: 'held', exists: 'exists', refused: 'refused', stopped: 'not sent' };
  const rows = reportRows(
    [
      { line: 3, key: 'b', outcome: 'refused', code: 'invalid_field', field: 'fields.x', detail: 'too long' },
      { line: 2, key: 'a', outcome: 'saved' },
    ],
    outcomes,
  );
  expect(rows).toEqual([
    ['line', 'key', 'result', 'code', 'field', 'detail'],
    ['2', 'a', 'saved', '', '', ''],
    ['3', 'b', 'refused', 'invalid_field', 'fields.x', 'too long'],
  ]);
});
