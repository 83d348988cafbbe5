// One run of init-all or refresh-all: what is known of it while it goes on, and
// its report afterwards.

import { ndjson } from '../../api/lines';

export type Outcome = 'ok' | 'skipped' | 'failed';
export type Kind = 'init' | 'refresh';

export interface Result {
  key: string;
  result: Outcome;
  reason?: string;
  // Why it failed, for programs.
  code?: string;
}

export interface Run {
  realm: string;
  kind: Kind;
  // state: cut is an answer without its last line, so that not everything was
  // done; failed is one that was refused.
  state: 'running' | 'done' | 'stopped' | 'cut' | 'failed';
  // expected is how many accounts there were before; the bar goes by it.
  expected: number;
  results: Result[];
  counts: Record<Outcome, number>;
  startedAt: number;
  endedAt?: number;
  error?: Error;
}

export function newRun(realm: string, kind: Kind, expected: number, now: number): Run {
  return { realm, kind, state: 'running', expected, results: [], counts: { ok: 0, skipped: 0, failed: 0 }, startedAt: now };
}

// percent is how far a run is. More accounts than were expected may come, and
// an end is an end also where fewer came.
export function percent(run: Run): number {
  if (run.state === 'done') return 100;
  if (run.expected <= 0) return 0;
  return Math.min(99, Math.floor((100 * run.results.length) / run.expected));
}

function isResult(value: unknown): value is Result {
  const v = value as Partial<Result> | null;
  return typeof v?.key === 'string' && (v.result === 'ok' || v.result === 'skipped' || v.result === 'failed');
}

function isSum(value: unknown): value is { total: number } {
  return typeof (value as { total?: unknown } | null)?.total === 'number';
}

// follow reads the lines of a run and hands on how it stands, at most every
// `pause` milliseconds: ten thousand accounts are ten thousand lines, and to draw
// each of them would keep the page busy with itself.
export async function follow(
  start: Run,
  open: () => Promise<Response>,
  publish: (run: Run) => void,
  signal: AbortSignal,
  now: () => number = Date.now,
  pause = 200,
): Promise<Run> {
  const results: Result[] = [];
  const counts = { ...start.counts };
  let summed = false;
  let last = now();
  const stand = (more: Partial<Run>): Run => ({ ...start, results: results.slice(), counts: { ...counts }, ...more });
  publish(start);
  let end: Partial<Run>;
  try {
    for await (const value of ndjson<unknown>(await open())) {
      if (isResult(value)) {
        results.push(value);
        counts[value.result]++;
      } else if (isSum(value)) {
        summed = true;
      }
      if (now() - last >= pause) {
        last = now();
        publish(stand({}));
      }
    }
    end = { state: summed ? 'done' : 'cut' };
  } catch (error) {
    // Before the first line, the answer was a refusal, which says why.
    if (signal.aborted) end = { state: 'stopped' };
    else end = { state: results.length > 0 ? 'cut' : 'failed', error: error as Error };
  }
  const run = stand({ ...end, endedAt: now() });
  publish(run);
  return run;
}
