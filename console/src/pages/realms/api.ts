import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { getJSON, type Schemas, sendJSON } from '../../api/client';
import { ApiError } from '../../api/error';
import { queryClient } from '../../api/query';
import type { Config, Preset, RealmBody } from './draft';

export type Realm = Omit<Schemas['Realm'], 'config'> & { config?: Config };
export type Report = Schemas['Report'];
export type TestCall = Schemas['TestCall'];

interface List<T> {
  data: { list: T[]; total: number };
}

/** The path of something below /api, with each of its parts escaped. */
export function pathOf(...parts: string[]): string {
  return ['api', ...parts.map(encodeURIComponent)].join('/');
}

/** The query of a list. Only what is set is sent. */
export function queryOf(values: Record<string, string | number | boolean | undefined>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value !== undefined && value !== '') query.set(name, String(value));
  }
  return query.toString();
}

export async function listRealms(page: { page: number; pageSize: number; keyword?: string; signal?: AbortSignal }) {
  const { signal, ...query } = page;
  return (await getJSON<List<Realm>>(`api/realm?${queryOf(query)}`, signal)).data;
}

export function useRealm(id: string | undefined) {
  return useQuery({
    queryKey: ['realm', id],
    queryFn: ({ signal }) => getJSON<Realm>(pathOf('realm', id ?? ''), signal),
    enabled: id !== undefined && id !== '',
  });
}

/** The catalogue, which does not change while the server runs. */
export function usePresets() {
  return useQuery({
    queryKey: ['presets'],
    queryFn: async ({ signal }) => (await getJSON<List<Preset>>('api/preset?pageSize=100', signal)).data.list,
    staleTime: Infinity,
  });
}

export function usePreset(name: unknown) {
  return useQuery({
    queryKey: ['preset', name],
    queryFn: ({ signal }) => getJSON<Preset>(pathOf('preset', String(name)), signal),
    enabled: typeof name === 'string' && name !== '',
    staleTime: Infinity,
  });
}

/** Reports whether there is a realm of this id: to save over one would change it. */
export async function realmExists(id: string): Promise<boolean> {
  try {
    await getJSON<Realm>(pathOf('realm', id));
    return true;
  } catch (error) {
    if (error instanceof ApiError && error.code === 'realm_not_found') return false;
    throw error;
  }
}

export async function saveRealm(body: RealmBody, keepValues = false): Promise<Realm> {
  const saved = await sendJSON<Realm>('POST', keepValues ? 'api/realm?keep_values=true' : 'api/realm', body);
  forgetRealm(body.id);
  return saved;
}

export async function deleteRealm(id: string, cascade: boolean): Promise<void> {
  await sendJSON('DELETE', pathOf('realm', id) + (cascade ? '?cascade=true' : ''));
  queryClient.removeQueries({ queryKey: ['realm', id] });
  forgetRealm(id);
  void queryClient.invalidateQueries({ queryKey: ['secrets'] });
}

function forgetRealm(id: string) {
  void queryClient.invalidateQueries({ queryKey: ['realms'] });
  void queryClient.invalidateQueries({ queryKey: ['realm', id] });
}

export interface TestBody {
  key: string;
  config?: Config;
  call?: { method: string; path: string };
}

export async function testRealm(id: string, body: TestBody): Promise<Report> {
  return sendJSON<Report>('POST', `${pathOf('realm', id)}/test`, body);
}

export interface Written {
  realm: RealmBody;
  secrets: { key: string; fields: string[] }[];
}

/** A realm written as a block of the Caddyfile. Names of fields are sent, and never a value. */
export function useCaddyfile(written: Written | null) {
  return useQuery({
    queryKey: ['caddyfile', written],
    queryFn: async () => (await sendJSON<{ caddyfile: string }>('POST', 'api/caddyfile', written)).caddyfile,
    enabled: written !== null,
    placeholderData: keepPreviousData,
    retry: false,
    gcTime: 0,
  });
}

/** How many secrets a realm has, and how many of their tokens need somebody. */
export function useRealmSums(id: string) {
  const secrets = useQuery({
    queryKey: ['secrets', 'count', id],
    queryFn: async ({ signal }) => {
      const query = queryOf({ realm: id, page: 1, pageSize: 1 });
      return (await getJSON<List<object>>(`api/secret?${query}`, signal)).data.total;
    },
    staleTime: 15_000,
  });
  const attention = useQuery({
    queryKey: ['status', 'attention', id],
    queryFn: async ({ signal }) => {
      const query = queryOf({ realm: id, attention: true, page: 1, pageSize: 1 });
      return (await getJSON<{ total?: number }>(`api/status?${query}`, signal)).total ?? 0;
    },
    staleTime: 15_000,
  });
  return { secrets: secrets.data, attention: attention.data };
}
