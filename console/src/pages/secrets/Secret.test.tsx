import { fireEvent, screen, waitFor, within } from '@testing-library/react';
import { expect, it } from 'vitest';
import SecretPage from './Secret';
import { type Answer, Refusal, sessionOf, show, traces } from './testing';

const help = { en: 'Help', zh: 'Help' };
const preset = {
  name: 'shop',
  title: help,
  category: 'commerce',
  fields: [
    { name: 'app_id', required: true, confidential: false, help },
    { name: 'app_secret', required: true, confidential: true, help },
    { name: 'ticket', required: true, confidential: true, pushed: true, help },
  ],
  docs: [],
  notes: { en: [], zh: [] },
  errors: [],
  unverified: [],
  config: { url: 'https://shop.example/token', authorize: {}, volatile: ['ticket'] },
};
const mask = '******************';
const secret = { realm: 'shop', key: 'main', fields: { app_id: mask, app_secret: mask } };
const status = { realm: 'shop', key: 'main', state: 'live', lineage: 4, fetches: 2, budget_left: 7 };
const all = ['use', 'flush', 'authorize', 'push', 'admin_read', 'admin'];

function answersFor(rights: string[], more: Record<string, Answer> = {}): Record<string, Answer> {
  return {
    ...more,
    'GET api/session': () => sessionOf(rights),
    'GET api/realm/shop': () => ({ id: 'shop', config: { preset: 'shop' } }),
    'GET api/preset/shop': () => preset,
    'GET api/secret/shop/main': () => secret,
    'GET api/status': () => ({
      tokens: [{ ...status, history: [{ at: '2026-11-30T06:00:00Z', result: 'ok', why: 'heal' }] }],
    }),
  };
}
const showSecret = (answers: Record<string, Answer>) =>
  show(<SecretPage />, answers, '/secrets/shop/main', '/secrets/:realm/:key');
const tabs = () => screen.queryAllByRole('tab').map((tab) => tab.textContent);
const buttons = () => screen.queryAllByRole('button').map((button) => button.textContent);

it('shows the state, the budget and the fields without values', async () => {
  await showSecret(answersFor(all));
  await screen.findByText('Live');
  await screen.findByText('7 requests left in the tightest window');
  await waitFor(() => expect(screen.getAllByLabelText('is set')).toHaveLength(2));
  expect(tabs()).toEqual(['Fields', 'History', 'Change', 'Dry run', 'Authorize', 'Push']);
});

it.each([
  [['admin_read'], ['Fields', 'History'], []],
  [['admin_read', 'flush'], ['Fields', 'History'], ['Fetch a new token']],
  [['admin_read', 'push'], ['Fields', 'History', 'Push'], []],
  [['admin_read', 'authorize'], ['Fields', 'History', 'Authorize'], []],
  [['admin_read', 'admin'], ['Fields', 'History', 'Change', 'Dry run'], ['Delete']],
])('offers only what may be done with %j', async (rights, wantTabs, wantButtons) => {
  await showSecret(answersFor(rights));
  await waitFor(() => expect(tabs()).toEqual(wantTabs));
  const offered = ['Fetch a new token', 'Delete'].filter((name) => buttons().includes(name));
  expect(offered).toEqual(wantButtons);
});

it('offers no change of what the Caddyfile defines', async () => {
  const answers = { ...answersFor(all), 'GET api/secret/shop/main': () => ({ ...secret, read_only: true }) };
  await showSecret(answers);
  await waitFor(() => expect(tabs()).toEqual(['Fields', 'History', 'Dry run', 'Authorize']));
  expect(buttons()).not.toContain('Delete');
});

it('keeps nothing of the token that a flush fetches', async () => {
  const answers = answersFor(all, {
    'POST api/token': () => ({
      token: 'CANARY-token',
      expires_in: 7200000,
      expires_at: 1,
      source: 'upstream',
      lineage: 5,
    }),
  });
  const { sent } = await showSecret(answers);
  fireEvent.click(await screen.findByRole('button', { name: 'Fetch a new token' }));
  const dialog = await screen.findByRole('dialog');
  fireEvent.click(within(dialog).getByRole('button', { name: 'Fetch a new token' }));
  await screen.findByText('A new token is there: number 5. It lives for 2 h.');
  expect(sent.find((one) => one.path === 'api/token')?.body).toEqual({ realm: 'shop', key: 'main', flush: true });
  expect(traces()).not.toContain('CANARY');
});

it('sends only the fields that were typed, and clears them', async () => {
  const answers = answersFor(all, { 'POST api/secret': () => secret });
  const { sent } = await showSecret(answers);
  fireEvent.click(await screen.findByRole('tab', { name: 'Change' }));
  const input = await screen.findByLabelText('app_secret');
  expect(input.getAttribute('placeholder')).toBe('Set. Leave it empty to keep it.');
  fireEvent.change(input, { target: { value: ' CANARY-new ' } });
  fireEvent.click(screen.getByRole('button', { name: 'Save' }));
  await waitFor(() => expect(sent.some((one) => one.path === 'api/secret')).toBe(true));
  expect(sent.find((one) => one.path === 'api/secret')?.body).toEqual({
    realm: 'shop',
    key: 'main',
    fields: { app_secret: 'CANARY-new' },
  });
  await waitFor(() => expect(traces()).not.toContain('CANARY'));
});

it('warns of what was saved and may be a slip', async () => {
  const warnings = [
    'fields.app_id: is missing; without it there is no token',
    "fields.appsecret: nothing in the realm reads it; did you mean 'app_secret'?",
    'the secret does not fit the realm: fields.app_secret: is no key',
  ];
  let answer = 0;
  const answers = answersFor(all, { 'POST api/secret': () => ({ ...secret, ...(answer++ === 0 ? { warnings } : {}) }) });
  await showSecret(answers);
  fireEvent.click(await screen.findByRole('tab', { name: 'Change' }));
  fireEvent.click(await screen.findByRole('button', { name: 'Save' }));
  await screen.findByText('This is saved, but may not work yet');
  expect(screen.getAllByRole('listitem').map((item) => item.textContent)).toEqual([
    'app_id is missing. Without it there is no token.',
    'Nothing in the realm reads appsecret. Did you mean app_secret?',
    expect.stringContaining(warnings[2] ?? ''),
  ]);
  // The next save has none: the alert goes.
  fireEvent.click(screen.getByRole('button', { name: 'Save' }));
  await waitFor(() => expect(screen.queryByText('This is saved, but may not work yet')).toBeNull());
});

it('leaves a refused value in its field, with the reason', async () => {
  const answers = answersFor(all, {
    'POST api/secret': () => {
      throw new Refusal(400, { code: 'invalid_field', field: 'fields.app_id', detail: 'app_id has a blank' });
    },
  });
  await showSecret(answers);
  fireEvent.click(await screen.findByRole('tab', { name: 'Change' }));
  fireEvent.change(await screen.findByLabelText('app_id'), { target: { value: 'a b' } });
  fireEvent.click(screen.getByRole('button', { name: 'Save' }));
  await screen.findByText('app_id has a blank');
  expect(screen.getByLabelText<HTMLInputElement>('app_id').value).toBe('a b');
});

it('pushes a value and clears it', async () => {
  const answers = answersFor(all, { 'POST api/secret/shop/main/push': () => ({ success: 'ok' }) });
  const { sent } = await showSecret(answers);
  fireEvent.click(await screen.findByRole('tab', { name: 'Push' }));
  fireEvent.change(await screen.findByLabelText('Value'), { target: { value: 'CANARY-ticket' } });
  fireEvent.change(screen.getByLabelText('Ends after'), { target: { value: '30' } });
  fireEvent.click(screen.getByRole('button', { name: 'Push' }));
  await screen.findByText('The value is saved.');
  expect(sent.find((one) => one.path.endsWith('/push'))?.body).toEqual({
    field: 'ticket',
    value: 'CANARY-ticket',
    expires_in: 1800,
  });
  expect(traces()).not.toContain('CANARY');
});

it('waits for an authorization, and then forgets its link', async () => {
  let lineage = 4;
  const answers: Record<string, Answer> = {
    'GET api/secret/shop/main/authorize': () => ({ url: 'https://login.example/?state=CANARY-state' }),
    ...answersFor(all),
    'GET api/status': () => ({ tokens: [{ ...status, lineage }] }),
  };
  await showSecret(answers);
  fireEvent.click(await screen.findByRole('tab', { name: 'Authorize' }));
  fireEvent.click(await screen.findByRole('button', { name: 'Begin an authorization' }));
  const link = await screen.findByRole('link', { name: "Open the provider's page" });
  expect(link.getAttribute('href')).toBe('https://login.example/?state=CANARY-state');
  expect(JSON.stringify([{ ...localStorage }, { ...sessionStorage }, window.location.href])).not.toContain('CANARY');
  lineage = 5;
  await screen.findByText('The account is authorized, and its token is live.', undefined, { timeout: 8000 });
  expect(traces()).not.toContain('CANARY');
}, 15_000);
