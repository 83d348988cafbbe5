import { whyFailed, whyNoted, type Why } from '../../components/failure';
import type { Status, TokenStatus } from './data';

// Item is one thing that needs a person, or soon will. Its texts are
// `attention.<kind>`, with the values; advice is the name of one more. Of tokens
// they are those of why.
export interface Item {
  id: string;
  kind: 'store' | 'damaged' | 'reauth' | 'failing' | 'without_claims' | 'stale' | 'note' | 'budget';
  severity: 'error' | 'warning';
  values: Record<string, string | number>;
  // What the product or the provider said about it, in English.
  said?: string | undefined;
  at?: string | undefined;
  advice?: string;
  // Why, and what to do, where it is about a token.
  why?: Why;
  token?: TokenStatus;
}

function tokenItems(token: TokenStatus, exists: (name: string) => boolean): Item[] {
  const { realm, key, state } = token;
  const base = { values: { realm, key }, token, said: token.last_error, at: token.last_error_at };
  const items: Item[] = [];
  if (state === 'reauth_required') {
    items.push({ ...base, id: `reauth/${realm}/${key}`, kind: 'reauth', severity: 'error', why: 'failure.reauth_required' });
  }
  if (state === 'failing') {
    items.push({ ...base, id: `failing/${realm}/${key}`, kind: 'failing', severity: 'error', why: whyFailed(token, exists) });
  }
  if (token.note) {
    const why = whyNoted(token.note);
    items.push({ ...base, id: `note/${realm}/${key}`, kind: 'note', severity: 'warning', said: token.note, at: undefined, why });
  }
  return items;
}

// budgetItems has one item a realm: all its secrets share the budget.
function budgetItems(tokens: TokenStatus[], isListed: (token: TokenStatus) => boolean): Item[] {
  const lowest = new Map<string, number>();
  for (const token of tokens) {
    const left = token.budget_left;
    // The API lists a token for its budget alone only where that is near its
    // end; one that is listed for another reason may have plenty.
    if (left !== undefined && (left === 0 || !isListed(token))) {
      lowest.set(token.realm, Math.min(left, lowest.get(token.realm) ?? left));
    }
  }
  return [...lowest].map(([realm, left]) => ({
    id: `budget/${realm}`,
    kind: 'budget',
    severity: left === 0 ? 'error' : 'warning',
    values: { realm, left, count: left },
    advice: 'advice.budget',
  }));
}

// attentionOf lists what needs a person, what is worst first.
export function attentionOf(status: Status, exists: (name: string) => boolean): Item[] {
  const items: Item[] = [];
  for (const store of status.stores.filter(({ ok }) => !ok)) {
    items.push({
      id: `store/${store.name}`, kind: 'store', severity: 'error', values: { name: store.name }, said: store.error, advice: 'advice.store_down',
    });
  }
  for (const row of status.damaged ?? []) {
    const name = [row.realm, row.key].filter(Boolean).join(' / ');
    items.push({
      id: `damaged/${row.kind}/${name}`, kind: 'damaged', severity: 'error', values: { kind: row.kind, name }, advice: 'advice.damaged',
    });
  }
  if (status.without_claims) {
    items.push({
      id: 'without_claims', kind: 'without_claims', severity: 'warning', values: { count: status.without_claims }, advice: 'advice.without_claims',
    });
  }
  if (status.clients.stale_since) {
    items.push({ id: 'stale', kind: 'stale', severity: 'warning', values: {}, at: status.clients.stale_since, advice: 'advice.stale' });
  }
  const ofTokens = status.tokens.flatMap((token) => tokenItems(token, exists));
  items.push(...ofTokens);
  const listed = new Set(ofTokens.map(({ token }) => token));
  items.push(...budgetItems(status.tokens, (token) => listed.has(token)));
  return items.sort((a, b) => a.severity.localeCompare(b.severity)); // error, warning
}
