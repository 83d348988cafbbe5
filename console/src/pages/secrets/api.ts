import { useQuery } from '@tanstack/react-query';
import { getJSON, type Page, type Schemas, sendJSON } from '../../api/client';
import { exists } from '../../api/exists';
import { pathOf, withQuery } from '../../api/path';
import { queryClient } from '../../api/query';

/** One renewal of a token, as this node saw it. */
export interface Renewal {
  at: string;
  result: 'ok' | 'failed';
  why: string;
  detail?: string;
  lineage?: number;
  took_ms?: number;
}

export type TokenStatus = Schemas['TokenStatus'] & { history?: Renewal[] };
export type Secret = Schemas['Secret'] & { status?: TokenStatus };

/** What a POST of a secret changes. An absent field stays; null removes it. */
export interface SecretChange {
  realm: string;
  key: string;
  fields?: Record<string, string | null>;
  inject_only?: boolean;
  drop_refresh_token?: boolean;
}

export interface SecretFilter {
  page: number;
  pageSize: number;
  realm?: string;
  keyword?: string;
  signal?: AbortSignal;
}

/** A page of secrets, each with the state of its token. */
export async function listSecrets({ signal, ...filter }: SecretFilter): Promise<{ list: Secret[]; total: number }> {
  return (await getJSON<Page<Secret>>(withQuery('api/secret', { ...filter, status: true }), signal)).data;
}

export function useSecret(realm: string, key: string) {
  return useQuery({
    queryKey: ['secret', realm, key],
    queryFn: ({ signal }) => getJSON<Secret>(pathOf('secret', realm, key), signal),
    enabled: realm !== '' && key !== '',
  });
}

/** The state of one token; null where memory knows nothing of it. */
export function useStatus(realm: string, key: string, interval: number | false = false) {
  return useQuery({
    queryKey: ['status', realm, key],
    queryFn: ({ signal }) => getStatus(realm, key, signal),
    refetchInterval: interval,
  });
}

export async function getStatus(realm: string, key: string, signal?: AbortSignal): Promise<TokenStatus | null> {
  const { tokens } = await getJSON<{ tokens: TokenStatus[] }>(withQuery('api/status', { realm, key }), signal);
  return tokens.find((one) => one.realm === realm && one.key === key) ?? null;
}

/** Asks anew for what is shown of a secret, after something became of it. */
export function forgetSecret(realm: string, key: string) {
  void queryClient.invalidateQueries({ queryKey: ['secret', realm, key] });
  void queryClient.invalidateQueries({ queryKey: ['status', realm, key] });
  void queryClient.invalidateQueries({ queryKey: ['secrets'] });
}

/** Reports whether there is a secret of this key: to save over one would change it. */
export const secretExists = (realm: string, key: string) =>
  exists<Secret>('api/secret', { realm, keyword: key }, (one) => one.key === key);

/** The keys of all secrets of a realm: a table of thousands is compared with them. */
export async function existingKeys(realm: string, signal: AbortSignal): Promise<Set<string>> {
  const pageSize = 500;
  const keys = new Set<string>();
  for (let page = 1; ; page++) {
    const { list, total } = (await getJSON<Page<Secret>>(withQuery('api/secret', { realm, page, pageSize }), signal)).data;
    list.forEach((one) => keys.add(one.key));
    if (list.length === 0 || page * pageSize >= total) return keys;
  }
}

export async function saveSecret(change: SecretChange): Promise<Secret> {
  const saved = await sendJSON<Secret>('POST', 'api/secret', change);
  forgetSecret(change.realm, change.key);
  return saved;
}

export async function deleteSecret(realm: string, key: string): Promise<void> {
  await sendJSON('DELETE', pathOf('secret', realm, key));
  queryClient.removeQueries({ queryKey: ['secret', realm, key] });
  queryClient.removeQueries({ queryKey: ['status', realm, key] });
  void queryClient.invalidateQueries({ queryKey: ['secrets'] });
}

export interface Flushed {
  expires_in: number | null;
  lineage: number;
}

/**
 * Has a new token fetched. The answer is asked for without the token: a browser
 * never holds one. Its life and its number are all that is read.
 */
export async function flush(realm: string, key: string): Promise<Flushed> {
  const headers = { Prefer: 'return=minimal' };
  const { expires_in, lineage } = await sendJSON<Flushed>('POST', 'api/token', { realm, key, flush: true }, headers);
  forgetSecret(realm, key);
  return { expires_in, lineage };
}

export interface PushBody {
  field: string;
  value: string;
  expires_in?: number;
}

export async function push(realm: string, key: string, body: PushBody): Promise<void> {
  await sendJSON('POST', `${pathOf('secret', realm, key)}/push`, body);
  forgetSecret(realm, key);
}

/** Begins an authorization. The link holds its state: whoever asks keeps it in memory only. */
export async function authorize(realm: string, key: string): Promise<string> {
  return (await getJSON<{ url: string }>(`${pathOf('secret', realm, key)}/authorize`)).url;
}
