import { getJSON, type Page, sendJSON } from '../../api/client';
import { pathOf, withQuery } from '../../api/path';
import { forAPI, type Rule } from './rule';

export interface Limits {
  requests?: string;
  concurrency?: number;
  fetches?: string;
}

export interface Client {
  id: string;
  comment: string;
  rules: Rule[];
  limits: Limits;
  users: string[];
  subjects: string[];
  sources: string[];
  edge: boolean;
  keys: { created_at?: string; expires_at: string | null }[];
  expires_at: string | null;
  created_at?: string;
  updated_at?: string;
  used_at?: string;
  read_only?: boolean;
  damaged?: boolean;
}

// Draft is a client while somebody writes it.
export type Draft = Pick<
  Client,
  'id' | 'comment' | 'rules' | 'limits' | 'users' | 'subjects' | 'sources' | 'edge' | 'expires_at'
>;

export function newDraft(): Draft {
  return { id: '', comment: '', rules: [], limits: {}, users: [], subjects: [], sources: [], edge: false, expires_at: null };
}

export function draftOf(c: Client): Draft {
  const { id, comment, rules, limits, users, subjects, sources, edge, expires_at } = c;
  return { id, comment, rules, limits, users, subjects, sources, edge, expires_at };
}

// Saved is the answer to a change. key is confidential, and there once: whoever
// gets it takes it out of the answer before anything keeps that.
export interface Saved extends Client {
  key?: string;
  closes_loopback?: boolean;
  warnings?: string[];
}

export const clientPath = (id: string) => pathOf('client', id);

export const listClients = (page: number, pageSize: number, keyword: string, signal?: AbortSignal) =>
  getJSON<Page<Client>>(withQuery('api/client', { page, pageSize, keyword }), signal);
export const getClient = (id: string, signal?: AbortSignal) => getJSON<Client>(clientPath(id), signal);
export const saveClient = (d: Draft) => sendJSON<Saved>('POST', 'api/client', { ...d, rules: d.rules.map(forAPI) });
export const rotateClient = (id: string, keep: string) => sendJSON<Saved>('POST', `${clientPath(id)}/rotate`, keep ? { keep } : {});
export const deleteClient = (id: string) => sendJSON('DELETE', clientPath(id));

// parseLimit takes a limit such as "100/s" apart.
export function parseLimit(text: string | undefined): { calls: number | null; unit: string } {
  const match = /^(\d+)\/([smhd])$/.exec(text ?? '');
  return match ? { calls: Number(match[1]), unit: match[2]! } : { calls: null, unit: 's' };
}

// isSource reports whether a text may be an address or a prefix. It is a first
// look; the API parses it.
export function isSource(text: string): boolean {
  return /^\d{1,3}(\.\d{1,3}){3}(\/\d{1,2})?$/.test(text) || (/^[0-9a-fA-F:.]+(\/\d{1,3})?$/.test(text) && text.includes(':'));
}

// idFault is what is wrong with the id of a new client.
export function idFault(id: string): 'idMissing' | 'idWrong' | undefined {
  if (id === '') return 'idMissing';
  const bytes = new TextEncoder().encode(id).length;
  return bytes > 255 || id !== id.trim() || /[/\\%?\u0000-\u001f\u007f]/.test(id) || id === '.' || id === '..'
    ? 'idWrong'
    : undefined;
}
