// The filter of the audit page, and how it stands in the page's address, so that
// a view can be bookmarked and shared.

export interface AuditEntry {
  id: string;
  node: string;
  seq: number;
  time: string;
  actor: { kind: string; id?: string };
  address?: string;
  act: string;
  realm?: string;
  key?: string;
  target?: string;
  result: 'ok' | 'refused' | 'failed';
  code?: string;
  detail?: string;
  count?: number;
}

const names = ['from', 'to', 'actor', 'realm', 'key', 'act', 'result'] as const;
export type FilterName = (typeof names)[number];
export type Filter = Partial<Record<FilterName, string>>;

export interface View {
  filter: Filter;
  page: number;
  pageSize: number;
}

export const pageSizes = [20, 50, 100, 200];

// viewOf reads a view from the query of the address. What it does not know, or
// what could not be asked for, is left out: an address may be typed by hand.
export function viewOf(query: URLSearchParams): View {
  const filter: Filter = {};
  for (const name of names) {
    const value = query.get(name);
    if (!value) continue;
    if ((name === 'from' || name === 'to') && Number.isNaN(Date.parse(value))) continue;
    if (name === 'result' && !['ok', 'refused', 'failed'].includes(value)) continue;
    filter[name] = value;
  }
  const page = Number(query.get('page'));
  const pageSize = Number(query.get('pageSize'));
  return {
    filter,
    page: Number.isInteger(page) && page > 0 ? page : 1,
    pageSize: pageSizes.includes(pageSize) ? pageSize : pageSizes[0]!,
  };
}

// queryOf writes a view into an address; what is as usual is left out.
export function queryOf(view: View): URLSearchParams {
  const query = new URLSearchParams();
  for (const name of names) {
    const value = view.filter[name];
    if (value) query.set(name, value);
  }
  if (view.page > 1) query.set('page', String(view.page));
  if (view.pageSize !== pageSizes[0]) query.set('pageSize', String(view.pageSize));
  return query;
}

// acts are those that the API writes, in groups.
export const acts: Record<string, readonly string[]> = {
  token: ['token.read', 'token.flush', 'account.authorize', 'account.callback', 'access'],
  realm: ['realm.create', 'realm.update', 'realm.delete', 'realm.test'],
  secret: ['secret.create', 'secret.update', 'secret.delete', 'secret.push'],
  company: ['company.create', 'company.update', 'company.delete'],
  client: ['client.create', 'client.update', 'client.rotate', 'client.delete'],
  other: ['login', 'key.rotate', 'backup', 'audit.checkpoint'],
};
