// Answers that examples made from openapi.json do not have: what the API says
// when something needs a person.

const minute = 60_000;
const at = (minutes) => new Date(Date.now() + minutes * minute).toISOString();
const rights = Object.fromEntries(
  ['use', 'read', 'flush', 'authorize', 'push', 'admin_read', 'admin', 'audit'].map((right) => [right, 'all']),
);

// signedIn is switched by the check: without it, the page to sign in is shown.
export const state = { signedIn: true };

function session(query) {
  if (!state.signedIn) {
    return { status: 403, body: { title: 'Forbidden', status: 403, code: 'forbidden', detail: 'sign in', message: 'sign in' } };
  }
  const here = Object.fromEntries(Object.keys(rights).map((right) => [right, true]));
  return { body: { kind: 'admin', id: 'admin', expires_at: at(700), csrf_token: '5f'.repeat(16), rights, ...(query.has('realm') ? { here } : {}) } };
}

const attention = [
  { realm: 'google', key: 'ann', state: 'reauth_required', fetches: 3, failure: 'reauth_required', code: 'invalid_grant', last_error: 'somebody has to authorize again: invalid_grant (HTTP 400) Token has been revoked.', last_error_at: at(-40) },
  {
    realm: 'wechat', key: 'main', state: 'failing', fetches: 9, failure: 'refused', code: '40164', last_error: 'refused (HTTP 200) 40164 invalid ip 192.0.2.7, not in whitelist',
    last_error_at: at(-3), next_refresh: at(2),
  },
  { realm: 'wecom', key: 'crm', state: 'live', fetches: 51, expires_at: at(80), note: 'contention: let one system fetch, or use the token that all share' },
  { realm: 'jd', key: 'shop', state: 'live', fetches: 2, expires_at: at(600), budget_left: 0, next_refresh: at(500) },
];

const activity = {
  step: 300,
  list: Array.from({ length: 72 }, (_, i) => ({
    at: at((i - 72) * 5), calls: 200 + Math.round(150 * Math.sin(i / 9)), fetches: i % 7, heals: i % 11 === 0 ? 2 : 0, errors: i > 64 ? i - 60 : 0,
  })),
  states: { live: 41, expired: 2, failing: 1, reauth_required: 1, idle: 6 },
  renewals: Array.from({ length: 72 }, (_, i) => ({ at: at(i * 5), count: i % 9 === 0 ? 4 : i % 4 === 0 ? 1 : 0 })),
  total: 51,
};

export const fixtures = {
  'GET /api/session': session,
  'POST /api/session': session,
  'DELETE /api/session': () => ({ body: { success: 'ok' } }),
  'GET /api/activity': () => ({ body: { data: activity, success: 'ok' } }),
  'GET /api/status': (query) => ({
    body: {
      stores: [{ name: 'sqlite', ok: true }, { name: 'redis', ok: false, error: 'dial tcp 10.0.0.5:6379: connection refused' }],
      clients: { required: true, stale_since: at(-12) },
      tokens: attention,
      without_claims: 2,
      damaged: [{ kind: 'secret', realm: 'feishu', key: 'bot' }],
      total: attention.length,
    },
  }),
};
