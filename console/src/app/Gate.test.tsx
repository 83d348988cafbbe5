import { fireEvent, render, screen, waitFor } from '@testing-library/react';
import { afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { queryClient } from '../api/query';
import type { Session } from '../api/session';
import { App } from './App';
import { setLanguage, startLanguage } from './language';

const all = Object.fromEntries(
  ['use', 'read', 'flush', 'authorize', 'push', 'admin_read', 'admin', 'audit'].map((right) => [right, 'all']),
) as Session['rights'];
const auditor = { ...Object.fromEntries(Object.keys(all).map((right) => [right, 'none'])), audit: 'some' } as Session['rights'];

// The server: who is signed in, which key and link it takes, what was asked.
let session: Session | undefined;
let asked: { method: string; path: string; body: string }[];

const json = (status: number, body: unknown) =>
  new Response(JSON.stringify(body), { status, headers: { 'Content-Type': 'application/json' } });

async function serve(request: Request): Promise<Response> {
  const path = new URL(request.url).pathname;
  const body = await request.text();
  asked.push({ method: request.method, path, body });
  if (path !== '/api/session') {
    return json(404, { code: 'not_found' });
  }
  if (request.method === 'DELETE') {
    session = undefined;
    return json(200, { success: 'ok' });
  }
  if (request.method === 'POST') {
    if (body !== '{"key":"good"}' && body !== '{"link":"good"}') {
      return json(403, { code: 'forbidden', detail: 'no' });
    }
    session = { kind: 'client', id: 'ops', expires_at: '2030-01-01T00:00:00Z', rights: all };
  }
  return session ? json(200, session) : json(403, { code: 'forbidden', detail: 'no' });
}

beforeAll(async () => {
  await startLanguage();
  await setLanguage('en');
});

beforeEach(() => {
  session = undefined;
  asked = [];
  queryClient.clear();
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
  session = { kind: 'admin', id: 'admin', expires_at: '2030-01-01T00:00:00Z', rights: all };
  const first = render(<App link={undefined} />);
  fireEvent.click(await screen.findByRole('button', { name: /Sign out/ }));
  await screen.findByRole('heading', { name: 'Sign in' });
  first.unmount();

  session = { kind: 'local', id: '', rights: all };
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
