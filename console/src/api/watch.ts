import { useEffect, useEffectEvent } from 'react';
import { send } from './client';
import { ApiError } from './error';
import { linesOf } from './lines';

// Change is an event of GET /api/watch: the state of one token changed.
export interface Change {
  realm: string;
  key: string;
  lineage: number;
  state: string;
}

interface Listener {
  change: (change: Change) => void;
  gap: () => void;
}

// All parts of the page share one connection.
const listeners = new Set<Listener>();
let connection: AbortController | undefined;

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

// readEvents reads one connection to its end. onReady is called when the server
// has begun to collect events.
async function readEvents(signal: AbortSignal, onReady: () => void): Promise<void> {
  const response = await send('./api/watch', { headers: { Accept: 'text/event-stream' }, signal });
  let event = 'message';
  for await (const line of linesOf(response)) {
    if (line === '') {
      event = 'message';
    } else if (line.startsWith('event:')) {
      event = line.slice('event:'.length).trim();
      if (event === 'ready') {
        onReady();
      } else if (event === 'gap') {
        listeners.forEach((listener) => listener.gap());
      }
    } else if (line.startsWith('data:') && event === 'message') {
      const change = JSON.parse(line.slice('data:'.length)) as Change;
      listeners.forEach((listener) => listener.change(change));
    }
  }
}

// keepConnected connects again after an end or a failure, at first after a
// second, at last every 30 seconds. What happened meanwhile is a gap. It gives
// up where the server says that it will never work.
async function keepConnected(signal: AbortSignal): Promise<void> {
  let delay = 1_000;
  let first = true;
  while (!signal.aborted) {
    try {
      await readEvents(signal, () => {
        delay = 1_000;
        if (!first) {
          listeners.forEach((listener) => listener.gap());
        }
        first = false;
      });
    } catch (error) {
      if (error instanceof ApiError && [401, 403, 404, 405].includes(error.status)) {
        return;
      }
    }
    await pause(delay * (0.75 + Math.random() / 2), signal);
    delay = Math.min(delay * 2, 30_000);
  }
}

function listen(listener: Listener): () => void {
  listeners.add(listener);
  if (!connection) {
    connection = new AbortController();
    void keepConnected(connection.signal);
  }
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      connection?.abort();
      connection = undefined;
    }
  };
}

// watchAgain connects anew, in the session that requests are meant for by now: in
// the one before, the connection has ended for good.
export function watchAgain(): void {
  if (!connection) return;
  connection.abort();
  connection = new AbortController();
  void keepConnected(connection.signal);
  listeners.forEach((listener) => listener.gap());
}

// useWatch calls change for each token whose state changed, and gap where
// events were lost: everything that is shown has to be asked for again.
export function useWatch(change: (change: Change) => void, gap: () => void, enabled = true): void {
  const onChange = useEffectEvent(change);
  const onGap = useEffectEvent(gap);
  useEffect(() => (enabled ? listen({ change: (one) => onChange(one), gap: () => onGap() }) : undefined), [enabled]);
}
