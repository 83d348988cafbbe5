import { fireEvent, screen, waitFor } from '@testing-library/react';
import { expect, it } from 'vitest';
import { type Answer, Refusal, show, traces } from '../secrets/testing';
import type { Preset } from './draft';
import { callbackOf, inputOf, RealmForm } from './RealmForm';

const text = (en: string) => ({ en, zh: en });
const preset: Preset = {
  name: 'shop',
  title: text('Shop'),
  category: 'commerce',
  fields: [
    { name: 'app_id', required: true, confidential: false, shared: true, help: text('The id') },
    { name: 'app_secret', required: true, confidential: true, shared: true, help: text('The secret') },
    { name: 'redirect_uri', required: true, confidential: false, shared: true, help: text('The callback') },
    { name: 'password', required: true, confidential: true, help: text('The password') },
    { name: 'scope', required: false, confidential: false, shared: true, default: 'all', help: text('Scope') },
  ],
  docs: [],
  notes: { en: [], zh: [] },
  errors: [],
  unverified: [],
  config: { api: 'https://shop.example', url: 'https://shop.example/token' },
};

const answers: Record<string, Answer> = {
  // A realm that has the id as a part of its own is another one.
  'GET api/realm?': () => ({ data: { list: [{ id: 'shop-2' }], total: 1 } }),
  'GET api/preset/': () => preset,
  'POST api/realm': ({ body }) => body,
  'POST api/secret': ({ body }) => ({ ...(body as object), fields: { password: '******************' } }),
};

function fill(values: Record<string, string>) {
  for (const [label, value] of Object.entries(values)) {
    fireEvent.change(screen.getByLabelText(label), { target: { value } });
  }
}

const canaries = { app_secret: 'CANARY-app', password: 'CANARY-own' };
const save = () => fireEvent.click(screen.getByRole('button', { name: 'Save the realm and its secret' }));

it('saves the realm and its first secret, and keeps nothing of what was typed', async () => {
  const { sent } = await show(<RealmForm preset={preset} />, answers);
  expect(screen.getByLabelText<HTMLInputElement>('Id').value).toBe('shop');
  expect(screen.queryByLabelText('scope')).toBeNull();
  fill({ app_id: 'A', ...canaries });
  expect(screen.getByLabelText<HTMLInputElement>('password').type).toBe('password');
  expect(screen.getByLabelText('What the form makes').textContent).not.toContain('CANARY');
  save();
  await screen.findByText('The realm shop and its secret main are saved.');
  const posts = sent.filter((one) => one.method === 'POST').map((one) => [one.path, one.body]);
  expect(posts).toEqual([
    [
      'api/realm',
      {
        id: 'shop',
        config: {
          preset: 'shop',
          shared: { app_id: 'A', app_secret: 'CANARY-app', redirect_uri: callbackOf('shop') },
        },
      },
    ],
    ['api/secret', { realm: 'shop', key: 'main', fields: { password: 'CANARY-own' } }],
  ]);
  await waitFor(() => expect(traces()).not.toContain('CANARY'));
});

it('warns of what is odd about the first secret', async () => {
  const warnings = ['fields.ticket: is missing; without it there is no token'];
  await show(<RealmForm preset={preset} />, { ...answers, 'POST api/secret': ({ body }) => ({ ...(body as object), warnings }) });
  fill({ app_id: 'A', app_secret: 'B', password: 'C' });
  save();
  await screen.findByText('The realm shop and its secret main are saved.');
  await screen.findByText('ticket is missing. Without it there is no token.');
});

it('sends nothing while something is missing, and says what', async () => {
  const { sent } = await show(<RealmForm preset={preset} />, answers);
  fill({ app_id: 'A', app_secret: 'x' });
  save();
  await screen.findByText('Something is missing. The fields concerned are marked.');
  expect(sent).toEqual([]);
});

it('does not save over a realm that there is', async () => {
  const { sent } = await show(<RealmForm preset={preset} />, {
    ...answers,
    'GET api/realm?': () => ({ data: { list: [{ id: 'shop-2' }, { id: 'shop' }], total: 2 } }),
  });
  fill({ app_id: 'A', ...canaries });
  save();
  await screen.findByText('The realm shop already exists. Choose another id, or change that realm.');
  expect(sent.filter((one) => one.method === 'POST')).toEqual([]);
});

it('shows a refusal at the field that the API names, and saves the rest again', async () => {
  let isGood = false;
  const { sent } = await show(<RealmForm preset={preset} />, {
    ...answers,
    'POST api/secret': ({ body }) => {
      if (!isGood) throw new Refusal(400, { code: 'invalid_field', field: 'fields.password', detail: 'too long' });
      return body;
    },
  });
  fill({ app_id: 'A', ...canaries });
  save();
  await screen.findByText('too long');
  await screen.findByText('The realm is saved, and its secret is not. Correct the values and save again.');
  isGood = true;
  fill({ password: 'CANARY-better' });
  save();
  await screen.findByText('The realm shop and its secret main are saved.');
  // It is not looked for again: this form made it.
  expect(sent.filter((one) => one.path.startsWith('api/realm?'))).toHaveLength(1);
  expect(traces()).not.toContain('CANARY');
});

it('takes the configuration of an expert, with the values of the form', async () => {
  const { sent } = await show(<RealmForm preset={preset} />, answers);
  fill({ app_id: 'A', ...canaries });
  fireEvent.click(screen.getByRole('switch'));
  const editor = screen.getByLabelText<HTMLTextAreaElement>('Configuration (JSON)');
  expect(editor.value).not.toContain('CANARY');
  fireEvent.change(editor, { target: { value: '{ "preset": "shop", "keep_warm": true' } });
  save();
  await screen.findByText(/This is not valid JSON/);
  expect(sent).toEqual([]);
  fireEvent.change(editor, { target: { value: '{ "preset": "shop", "keep_warm": true }' } });
  save();
  await screen.findByText('The realm shop and its secret main are saved.');
  const realm = sent.find((one) => one.method === 'POST' && one.path === 'api/realm')?.body;
  expect(realm).toMatchObject({ config: { keep_warm: true, shared: { app_secret: 'CANARY-app' } } });
});

it('asks for what the server says that a grant reads', async () => {
  const { sent } = await show(<RealmForm preset={null} />, {
    'GET api/realm/crm?reads=true': () => ({ id: 'crm', reads: ['client_id', 'client_secret'] }),
    ...answers,
  });
  const editor = screen.getByLabelText<HTMLTextAreaElement>('Configuration (JSON)');
  const grant = { name: 'client_credentials', token_url: 'https://crm.example/t' };
  fireEvent.change(editor, { target: { value: JSON.stringify({ grant }) } });
  fill({ Id: 'crm', 'Add a field by its name': 'tenant' });
  fireEvent.click(screen.getByRole('button', { name: 'Add' }));
  fill({ tenant: 'T' });
  expect(screen.queryByLabelText('client_secret')).toBeNull();
  save();
  await screen.findByLabelText('client_secret');
  expect(sent.filter((one) => one.path === 'api/secret')).toEqual([]);
  fill({ client_id: 'A', client_secret: 'CANARY-own' });
  save();
  await screen.findByText('The realm crm and its secret main are saved.');
  expect(sent.find((one) => one.path === 'api/secret')?.body).toMatchObject({
    fields: { tenant: 'T', client_id: 'A', client_secret: 'CANARY-own' },
  });
  expect(traces()).not.toContain('CANARY');
});

it('knows the input of a refused field', () => {
  expect(inputOf('fields.appid')).toBe('values.appid');
  expect(inputOf('config.shared.app_id')).toBe('values.app_id');
  expect(inputOf('config.arguments[0].place')).toBe('config');
  expect(inputOf('id')).toBe('id');
  expect(inputOf(undefined)).toBe('');
});

it('makes the callback of the site that serves the page', () => {
  expect(callbackOf('jd', 'https://h.example/tokens/#/realms/new/catalogue?preset=jd')).toBe(
    'https://h.example/tokens/jd-account/callback-token',
  );
});
