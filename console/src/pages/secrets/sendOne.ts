import { send } from '../../api/client';
import { ApiError } from '../../api/error';
import type { Secret } from './api';
import type { Item, Result } from './bulk';

/** How often a secret is sent that the API could not take at the moment, and how long it waits in between. */
const TRIES = 4;
const PAUSE = 1_000;

/**
 * Sends one secret of a table. One that is there stays as it is. What the API cannot take at the moment (too many
 * requests, no database) is sent again a little later.
 */
export async function sendOne(realm: string, item: Item, there: ReadonlySet<string>, signal: AbortSignal): Promise<Result> {
  const result = { line: item.line, key: item.key };
  if (there.has(item.key)) return { ...result, outcome: 'exists' };
  for (let attempt = 1; ; attempt++) {
    try {
      const { warnings = [], needs_values = [] } = await post({ realm, key: item.key, fields: item.fields });
      const outcome = needs_values.length > 0 ? 'held' : 'saved';
      return { ...result, outcome, ...(warnings.length > 0 ? { warnings } : {}) };
    } catch (error) {
      const refusal = error instanceof ApiError ? error : new ApiError(0, {});
      const mayPass = refusal.status === 0 || refusal.status === 429 || refusal.status === 503;
      if (mayPass && attempt < TRIES && !signal.aborted) {
        await pause(PAUSE * 2 ** (attempt - 1), signal);
        continue;
      }
      return { ...result, outcome: 'refused', code: refusal.code, detail: refusal.detail, ...fieldOf(refusal) };
    }
  }
}

function fieldOf(refusal: ApiError): { field?: string } {
  return refusal.field === undefined ? {} : { field: refusal.field.replace(/^fields\./, '') };
}

/**
 * Posts without what a single save does beside it: 2,000 saves must not ask for every list 2,000 times. Of the
 * answer, nothing is kept but what is odd about the secret.
 */
async function post(body: {
  realm: string;
  key: string;
  fields: Record<string, string>;
}): Promise<Pick<Secret, 'warnings' | 'needs_values'>> {
  const headers = { 'Content-Type': 'application/json' };
  const answer = await send('./api/secret', { method: 'POST', headers, body: JSON.stringify(body) });
  return (await answer.json()) as Secret;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
