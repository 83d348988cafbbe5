import { fireEvent, render, screen, waitFor } from '@testing-library/react';
import { afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { getJSON } from '../api/client';
import { queryClient } from '../api/query';
import { type Session, signOut } from '../api/session';
import { App } from './App';
import { setLanguage, startLanguage } from './language';

const all = Object.fromEntries(
  ['use', 'read', 'flush', 'authorize', 'push', 'admin_read', 'admin', 'audit'].map((right) => [right, 'all']),
) as Session['rights'];
const ops: Session = { kind: 'client', id: 'ops', expires_at: '2030-01-01T00:00:00Z', csrf_token: 'of-ops', rights: all };
const admin: Session = { kind: 'admin', id: '', expires_at: '2030-01-01T00:00:00Z', csrf_token: 'of-admin', rights: all };
const local: Session = { kind: 'local', id: '', rights: all };
const auditor = { ...Object.fromEntries(Object.keys(all).map((right) => [right, 'none'])), audit: 'some' } as Session['rights'];

// The server: who is signed in, which key and link it takes, what was asked, and
// for which session.
let session: Session | undefined;
let asked: { method: string; path: string; body: string; means: string | null }[];
const reload = vi.fn();

const json = (status: number, body: unknown) =>
  new Response(JSON.stringify(body), { status, headers: { 'Content-Type': 'application/json' } });

async function serve(request: Request): Promise<Response> {
  const path = new URL(request.url).pathname;
  const body = await request.text();
  const means = request.headers.get('X-Tokens-CSRF');
  asked.push({ method: request.method, path, body, means });
  if (means !== null && means !== '1' && means !== session?.csrf_token) {
    return json(403, { code: 'forbidden', detail: 'another session' });
  }
  if (path !== '/api/session') {
    return json(404, { code: 'not_found' });
  }
  if (request.method === 'DELETE') {
    session = undefined;
    return json(200, { success: 'ok' });
  }
  if (request.method === 'POST') {
    const { replace, ...who } = JSON.parse(body) as { key?: string; link?: string; replace?: boolean };
    if (session?.expires_at && !replace) {
      return json(409, { code: 'conflict', detail: 'signed in already' });
    }
    if (who.key !== 'good' && who.link !== 'good') {
      return json(403, { code: 'forbidden', detail: 'no' });
    }
    session = ops;
  }
  return session ? json(200, session) : json(403, { code: 'forbidden', detail: 'no' });
}

beforeAll(async () => {
  await startLanguage();
  await setLanguage('en');
});

beforeEach(async () => {
  vi.stubGlobal('fetch', () => Promise.resolve(json(200, { success: 'ok' })));
  await signOut(); // the page before
  session = undefined;
  asked = [];
  queryClient.clear();
  reload.mockReset();
  vi.spyOn(window.location, 'reload').mockImplementation(reload);
  window.location.hash = '#/no-such-page';
  vi.stubGlobal('fetch', serve);
});

afterEach(() => vi.unstubAllGlobals());

const posts = () => asked.filter(({ method }) => method === 'POST');

test('nobody sees the page to sign in, and is not asked for again and again', async () => {
  render(<App link={undefined} />);
  await screen.findByRole('heading', { name: 'Sign in' });
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(asked).toHaveLength(1);
});

test('a wrong key is refused in words and does not stay in the field; a good one signs in', async () => {
  render(<App link={undefined} />);
  const field = () => screen.getByLabelText<HTMLInputElement>('Admin token or key');
  await screen.findByRole('heading', { name: 'Sign in' });
  expect([field().type, field().autocomplete]).toEqual(['password', 'new-password']);
  fireEvent.change(field(), { target: { value: 'wrong' } });
  fireEvent.click(screen.getByRole('button', { name: 'Sign in' }));
  await screen.findByText('This is neither the admin token nor a key that may use the console.');
  await waitFor(() => expect(field().value).toBe(''));

  fireEvent.change(field(), { target: { value: ' good ' } });
  fireEvent.click(screen.getByRole('button', { name: 'Sign in' }));
  await screen.findByText('There is no such page');
  expect(screen.getByText('ops')).toBeTruthy();
  expect(JSON.stringify([...Object.entries(localStorage), ...Object.entries(sessionStorage)])).not.toContain('good');
});

test('a one-time link is redeemed once, before anything else', async () => {
  render(<App link="good" />);
  await screen.findByText('There is no such page');
  expect(posts()).toHaveLength(1);
  expect(asked[0]).toMatchObject({ method: 'POST', body: '{"link":"good"}' });
});

test('a link that was used leads to the page to sign in, with the reason', async () => {
  render(<App link="used" />);
  await screen.findByText(/The link was used already/);
  expect(posts()).toHaveLength(1);
});

test('signing out leads to the page to sign in; who has no session is not offered it', async () => {
  session = admin;
  const first = render(<App link={undefined} />);
  fireEvent.click(await screen.findByRole('button', { name: /Sign out/ }));
  await screen.findByRole('heading', { name: 'Sign in' });
  first.unmount();

  session = local;
  queryClient.clear();
  render(<App link={undefined} />);
  await screen.findByText('There is no such page');
  expect(screen.queryByRole('button', { name: /Sign out/ })).toBeNull();
});

test('the menu offers what the signed-in may see', async () => {
  session = { kind: 'client', id: 'auditor', rights: auditor };
  render(<App link={undefined} />);
  await screen.findByText('There is no such page');
  const menu = screen.getAllByRole('menuitem').map(({ textContent }) => textContent);
  expect(menu).toEqual(['Overview', 'Audit']);
});

// A link that somebody else made signed a browser in anew, without a word.
test('a link does not take the place of a session without a question, and can be left unused', async () => {
  session = admin;
  render(<App link="good" />);
  await screen.findByText('A link to sign in was opened');
  expect(posts().map(({ body }) => body)).toEqual(['{"link":"good"}']);
  expect(screen.getByText(/You are signed in as Admin token\./)).toBeTruthy();
  fireEvent.click(screen.getByRole('button', { name: 'Stay signed in as Admin token' }));
  await waitFor(() => expect(screen.queryByText('A link to sign in was opened')).toBeNull());
  expect(session).toBe(admin);
  expect(posts()).toHaveLength(1);
});

test('whoever wants it signs in with the link', async () => {
  session = admin;
  render(<App link="good" />);
  fireEvent.click(await screen.findByRole('button', { name: 'Sign in with the link' }));
  await screen.findByText('ops');
  expect(posts().map(({ body }) => body)).toEqual(['{"link":"good"}', '{"link":"good","replace":true}']);
  expect(reload).not.toHaveBeenCalled();
});

test('a link that has ended meanwhile says so, and the session goes on', async () => {
  session = admin;
  render(<App link="used" />);
  fireEvent.click(await screen.findByRole('button', { name: 'Sign in with the link' }));
  await screen.findByText(/The link was used already/);
  expect(screen.getByText('Admin token')).toBeTruthy();
});

test('a key that is typed in signs in, also where another tab has signed in meanwhile', async () => {
  render(<App link={undefined} />);
  await screen.findByRole('heading', { name: 'Sign in' });
  session = admin;
  fireEvent.change(screen.getByLabelText('Admin token or key'), { target: { value: 'good' } });
  fireEvent.click(screen.getByRole('button', { name: 'Sign in' }));
  await screen.findByText('ops');
});

// A page went on under the name of whoever had signed in in another tab.
test('a page acts in its own session only, and is loaded again when another one took its place', async () => {
  session = admin;
  render(<App link={undefined} />);
  await screen.findByText('There is no such page');
  session = ops; // in another tab
  const act = () => getJSON('api/realm').catch((error: unknown) => error);
  expect(await act()).toMatchObject({ status: 403 });
  expect(asked.find(({ path }) => path === '/api/realm')?.means).toBe('of-admin');
  await waitFor(() => expect(reload).toHaveBeenCalled());
  expect(screen.queryByText('ops')).toBeNull();
  // Also if somebody holds up the loading.
  expect(await act()).toMatchObject({ status: 403 });
});

test('signing out in a page whose session was replaced ends nothing', async () => {
  session = admin;
  render(<App link={undefined} />);
  const out = await screen.findByRole('button', { name: /Sign out/ });
  session = ops;
  fireEvent.click(out);
  await waitFor(() => expect(reload).toHaveBeenCalled());
  expect(session).toBe(ops);
});

test('a new session of the same person is taken as it is', async () => {
  session = admin;
  render(<App link={undefined} />);
  await screen.findByText('There is no such page');
  session = { ...admin, csrf_token: 'of-admin-anew' };
  const act = () => getJSON('api/realm').catch((error: unknown) => error);
  expect(await act()).toMatchObject({ status: 403 });
  await waitFor(async () => expect(await act()).toMatchObject({ status: 404 }));
  expect(reload).not.toHaveBeenCalled();
});

test('a page of somebody without a session means none', async () => {
  session = local;
  render(<App link={undefined} />);
  await screen.findByText('There is no such page');
  await getJSON('api/realm').catch(() => undefined);
  expect(asked.at(-1)?.means).toBeNull();
});
