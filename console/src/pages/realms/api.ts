import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { getJSON, type Page, type Schemas, sendJSON } from '../../api/client';
import { exists } from '../../api/exists';
import { pathOf, withQuery } from '../../api/path';
import { queryClient } from '../../api/query';
import type { Config, Preset, RealmBody } from './draft';

export type Realm = Omit<Schemas['Realm'], 'config'> & { config?: Config };
export type Report = Schemas['Report'];
export type TestCall = Schemas['TestCall'];

/** A page of realms, each with the number of its secrets and of the tokens that need somebody. */
export async function listRealms(page: { page: number; pageSize: number; keyword?: string; signal?: AbortSignal }) {
  const { signal, ...query } = page;
  return (await getJSON<Page<Realm>>(withQuery('api/realm', { ...query, counts: true }), signal)).data;
}

export function useRealm(id: string | undefined) {
  return useQuery({
    queryKey: ['realm', id],
    queryFn: ({ signal }) => getJSON<Realm>(withQuery(pathOf('realm', id ?? ''), { reads: true }), signal),
    enabled: id !== undefined && id !== '',
  });
}

/** The catalogue, which does not change while the server runs. */
export function usePresets() {
  return useQuery({
    queryKey: ['presets'],
    queryFn: async ({ signal }) => (await getJSON<Page<Preset>>('api/preset?pageSize=100', signal)).data.list,
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
export const realmExists = (id: string) => exists<Realm>('api/realm', { keyword: id }, (one) => one.id === id);

export async function saveRealm(body: RealmBody, keepValues = false): Promise<Realm> {
  const saved = await sendJSON<Realm>('POST', keepValues ? 'api/realm?keep_values=true' : 'api/realm', body);
  forgetRealm(body.id);
  return saved;
}

/** The fields of which secrets of a realm are made, as the server knows them. */
export const fieldsOfRealm = async (id: string) =>
  (await getJSON<Realm>(withQuery(pathOf('realm', id), { reads: true }))).reads ?? [];

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

/** How many secrets one realm has, and how many of their tokens need somebody. */
export function useRealmCounts(id: string): { secrets: number | undefined; attention: number | undefined } {
  const secrets = useQuery({
    queryKey: ['secrets', 'count', id],
    queryFn: async ({ signal }) => {
      const path = withQuery('api/secret', { realm: id, page: 1, pageSize: 1 });
      return (await getJSON<Page<object>>(path, signal)).data.total;
    },
    staleTime: 15_000,
  });
  const attention = useQuery({
    queryKey: ['status', 'attention', id],
    queryFn: async ({ signal }) => {
      const path = withQuery('api/status', { realm: id, attention: true, page: 1, pageSize: 1 });
      return (await getJSON<{ total: number }>(path, signal)).total;
    },
    staleTime: 15_000,
  });
  return { secrets: secrets.data, attention: attention.data };
}
