import { expect, test } from 'vitest';
import { attentionOf as attentionIn } from './attention';
import type { Status, TokenStatus } from './data';
import { hourly } from './hourly';

const token = (values: Partial<TokenStatus>): TokenStatus => ({ realm: 'r', key: 'k', state: 'live', fetches: 1, ...values });

function statusOf(values: Partial<Status>): Status {
  return { stores: [{ name: 'sqlite', ok: true }], tokens: [], clients: { required: false }, total: values.tokens?.length ?? 0, ...values };
}

const attentionOf = (status: Status) => attentionIn(status, () => true);
const kinds = (status: Status) => attentionOf(status).map(({ kind }) => kind);

test('nothing needs a person where all is well', () => {
  expect(attentionOf(statusOf({ tokens: [token({})], without_claims: 0, damaged: [] }))).toEqual([]);
});

test('each thing that needs a person is listed, what is worst first', () => {
  const status = statusOf({
    stores: [{ name: 'redis', ok: false, error: 'refused' }],
    damaged: [{ kind: 'secret', realm: 'a', key: 'b' }],
    without_claims: 1,
    clients: { required: true, stale_since: '2026-01-01T00:00:00Z' },
    tokens: [
      token({ realm: 'n', note: 'another system fetches this credential: let one system fetch' }),
      token({ realm: 'p', state: 'reauth_required' }),
      token({ realm: 'f', state: 'failing', last_error: 'timeout' }),
      token({ realm: 'b', budget_left: 3 }),
    ],
  });
  expect(kinds(status)).toEqual(['store', 'damaged', 'reauth', 'failing', 'without_claims', 'stale', 'note', 'budget']);
});

test('a budget is one item a realm, and only where it is what the token is listed for', () => {
  const items = attentionOf(
    statusOf({
      tokens: [
        token({ key: 'a', budget_left: 4 }),
        token({ key: 'b', budget_left: 2 }),
        token({ realm: 'plenty', state: 'failing', budget_left: 900 }),
        token({ realm: 'spent', state: 'failing', budget_left: 0 }),
      ],
    }),
  ).filter(({ kind }) => kind === 'budget');
  expect(items.map(({ values, severity }) => [values.realm, values.left, severity])).toEqual([
    ['spent', 0, 'error'],
    ['r', 2, 'warning'],
  ]);
});

test('samples are summed up by hours', () => {
  const sample = (at: string) => ({ at, calls: 2, fetches: 1, heals: 0, errors: 1 });
  const hours = hourly([sample('2026-01-01T10:00:00'), sample('2026-01-01T10:55:00'), sample('2026-01-01T11:00:00')]);
  expect(hours).toEqual([
    { hour: '01-01 10:00', calls: 4, fetches: 2, heals: 0, errors: 2 },
    { hour: '01-01 11:00', calls: 2, fetches: 1, heals: 0, errors: 1 },
  ]);
});
