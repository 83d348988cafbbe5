import { render } from '@testing-library/react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type Change, useWatch, watchAgain } from './watch';

// Connection is one call of fetch: the test sends events and ends it.
interface Connection {
  send: (text: string) => void;
  end: () => void;
  signal: AbortSignal;
}

let connections: Connection[];
let status: number;

beforeEach(() => {
  vi.useFakeTimers();
  connections = [];
  status = 200;
  vi.stubGlobal('fetch', (request: Request) => {
    if (status !== 200) {
      return Promise.resolve(new Response('{}', { status }));
    }
    const stream = new TransformStream<Uint8Array, Uint8Array>();
    const writer = stream.writable.getWriter();
    connections.push({
      send: (text) => void writer.write(new TextEncoder().encode(text)),
      end: () => void writer.close(),
      signal: request.signal,
    });
    return Promise.resolve(new Response(stream.readable));
  });
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function Watcher({ change, gap }: { change: (change: Change) => void; gap: () => void }) {
  useWatch(change, gap);
  return null;
}

const settle = () => vi.advanceTimersByTimeAsync(0);

test('events arrive, a gap is told, and a new connection is a gap', async () => {
  const change = vi.fn();
  const gap = vi.fn();
  render(<Watcher change={change} gap={gap} />);
  await settle();
  connections[0]?.send('event: ready\n\n: alive\n\ndata: {"realm":"r","key":"k","lineage":2,"state":"live"}\n\n');
  await settle();
  expect(change).toHaveBeenCalledExactlyOnceWith({ realm: 'r', key: 'k', lineage: 2, state: 'live' });
  expect(gap).not.toHaveBeenCalled();

  connections[0]?.send('event: gap\ndata: {}\n\n');
  await settle();
  expect(gap).toHaveBeenCalledTimes(1);
  expect(change).toHaveBeenCalledTimes(1);

  connections[0]?.end();
  await vi.advanceTimersByTimeAsync(2_000);
  expect(connections).toHaveLength(2);
  connections[1]?.send('event: ready\n\n');
  await settle();
  expect(gap).toHaveBeenCalledTimes(2);
});

test('two parts of the page share a connection, which ends with the last', async () => {
  const nothing = () => undefined;
  const first = render(<Watcher change={nothing} gap={nothing} />);
  const second = render(<Watcher change={nothing} gap={nothing} />);
  await settle();
  expect(connections).toHaveLength(1);
  first.unmount();
  expect(connections[0]?.signal.aborted).toBe(false);
  second.unmount();
  expect(connections[0]?.signal.aborted).toBe(true);
});

test('whoever may not watch is not asked again', async () => {
  const called = vi.fn();
  status = 403;
  const inner = globalThis.fetch;
  vi.stubGlobal('fetch', (request: Request) => {
    called();
    return inner(request);
  });
  render(<Watcher change={() => undefined} gap={() => undefined} />);
  await vi.advanceTimersByTimeAsync(300_000);
  expect(called).toHaveBeenCalledOnce();
});

// It stayed deaf when the person had signed in again in another tab.
test('in a new session it connects anew, although the one before refused', async () => {
  const gap = vi.fn();
  watchAgain(); // nobody listens
  status = 403;
  render(<Watcher change={() => undefined} gap={gap} />);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(connections).toHaveLength(0);
  status = 200;
  watchAgain();
  await settle();
  expect(connections).toHaveLength(1);
  expect(gap).toHaveBeenCalledOnce();
});
