import { fireEvent, screen, waitFor } from '@testing-library/react';
import { expect, it, vi } from 'vitest';
import ImportPage from './Import';
import { type Answer, Refusal, sessionOf, show, traces } from './testing';

const help = { en: '', zh: '' };
const preset = {
  name: 'shop',
  title: help,
  category: 'commerce',
  fields: [
    { name: 'app_id', required: true, confidential: false, help },
    { name: 'app_secret', required: true, confidential: true, help },
  ],
  docs: [],
  notes: { en: [], zh: [] },
  errors: [],
  unverified: [],
  config: {},
};
const answers: Record<string, Answer> = {
  'GET api/session': () => sessionOf(['admin', 'admin_read']),
  'GET api/realm/shop': () => ({ id: 'shop', config: { preset: 'shop' } }),
  'GET api/realm?': () => ({ data: { list: [], total: 0 } }),
  'GET api/preset/shop': () => preset,
  'GET api/secret?': () => ({ data: { list: [{ realm: 'shop', key: 'there' }], total: 1 } }),
  'POST api/secret': ({ body }) => {
    if ((body as { key: string }).key === 'bad') {
      throw new Refusal(400, { code: 'invalid_field', field: 'fields.app_id', detail: 'has a blank' });
    }
    return body;
  },
};
const showImport = (more: Record<string, Answer> = {}) => show(<ImportPage />, { ...answers, ...more }, '/?realm=shop');

async function paste(table: string) {
  fireEvent.change(await screen.findByLabelText('Or paste the table'), { target: { value: table } });
  fireEvent.click(screen.getByRole('button', { name: 'Read the table' }));
}

/** Keeps the file that the page hands to the browser; returns its bytes. */
function takeReport(): () => Promise<Uint8Array> {
  let report: Blob | undefined;
  vi.spyOn(URL, 'createObjectURL').mockImplementation((blob) => {
    report = blob as Blob;
    return 'blob:report';
  });
  vi.spyOn(URL, 'revokeObjectURL').mockReturnValue(undefined);
  // A real click would leave the page.
  vi.spyOn(HTMLAnchorElement.prototype, 'click').mockReturnValue(undefined);
  return async () => new Uint8Array((await report?.arrayBuffer()) ?? new ArrayBuffer(0));
}

it('shows no value, sends each line once, and reports what was refused', async () => {
  const { sent } = await showImport();
  await paste(
    'key,app_id,app_secret\na,CANARY-1,CANARY-2\nbad,CANARY-3,CANARY-4\nthere,CANARY-5,CANARY-6\nx,CANARY-7,',
  );
  await screen.findByText('3 secrets were read.');
  await screen.findByText('app_secret is empty.');
  const inputs = [...document.querySelectorAll<HTMLTextAreaElement>('textarea')].map((one) => one.value);
  expect(document.body.textContent + inputs.join()).not.toContain('CANARY');
  fireEvent.click(screen.getByRole('button', { name: 'Save 3 secrets' }));
  await screen.findByText('1 saved, 1 already exist, 2 refused, 0 not sent, of 4');
  await screen.findByText('has a blank');
  const posts = sent.filter((one) => one.method === 'POST').map((one) => one.body);
  expect(posts).toHaveLength(2);
  expect(posts).toContainEqual({ realm: 'shop', key: 'a', fields: { app_id: 'CANARY-1', app_secret: 'CANARY-2' } });
  expect(traces()).not.toContain('CANARY');
});

it('writes a report without values', async () => {
  const report = takeReport();
  await showImport();
  await paste('key,app_id,app_secret\nbad,CANARY-3,CANARY-4');
  fireEvent.click(await screen.findByRole('button', { name: 'Save 1 secret' }));
  fireEvent.click(await screen.findByRole('button', { name: /Download the report/ }));
  const bytes = await report();
  expect([...bytes.slice(0, 3)]).toEqual([0xef, 0xbb, 0xbf]);
  expect(new TextDecoder().decode(bytes)).toBe(
    'line,key,result,code,field,detail\r\n2,bad,Refused,invalid_field,app_id,has a blank\r\n',
  );
});

it('reports what was saved and may be a slip, line by line', async () => {
  const warnings = ["fields.apps: nothing in the realm reads it; did you mean 'app_id'?", 'something new'];
  await showImport({
    'POST api/secret': ({ body }) => ({ ...(body as object), ...((body as { key: string }).key === 'odd' ? { warnings } : {}) }),
  });
  const report = takeReport();
  await paste('key,app_id,app_secret,apps\nodd,1,2,3\ngood,1,2,');
  fireEvent.click(await screen.findByRole('button', { name: 'Save 2 secrets' }));
  await screen.findByText('2 saved, 0 already exist, 0 refused, 0 not sent, of 2');
  await screen.findByText('Nothing in the realm reads apps. Did you mean app_id?');
  await screen.findByText('something new');
  expect(screen.getByRole('cell', { name: 'odd' })).toBeTruthy();
  expect(screen.queryByRole('cell', { name: 'good' })).toBeNull();
  fireEvent.click(await screen.findByRole('button', { name: /Download the report/ }));
  expect(new TextDecoder().decode(await report())).toBe(
    `line,key,result,code,field,detail\r\n2,odd,Saved,,,"${warnings.join('; ')}"\r\n3,good,Saved,,,\r\n`,
  );
});

// Somebody else may have saved a secret of this key meanwhile, for another host.
it('reports what was saved, and is not sent before all values are entered', async () => {
  const warnings = ['fields.app_secret: is missing; without it there is no token'];
  await showImport({
    'POST api/secret': ({ body }) => {
      const { key } = body as { key: string };
      return { ...(body as object), ...(key === 'held' ? { needs_values: [key], warnings } : {}) };
    },
  });
  const report = takeReport();
  await paste('key,app_id,app_secret\nheld,1,2\ngood,1,2');
  fireEvent.click(await screen.findByRole('button', { name: 'Save 2 secrets' }));
  await screen.findByText(/^2 saved, 0 already exist, .* Of the saved ones, 1 is not sent/);
  expect(screen.getByRole('cell', { name: 'Saved, not sent' })).toBeTruthy();
  expect(screen.getByRole('cell', { name: /Enter all values again.*app_secret/ })).toBeTruthy();
  expect(screen.queryByRole('cell', { name: 'good' })).toBeNull();
  fireEvent.click(await screen.findByRole('button', { name: /Download the report/ }));
  expect(new TextDecoder().decode(await report())).toBe(
    `line,key,result,code,field,detail\r\n2,held,"Saved, not sent",,,"${warnings[0]}"\r\n3,good,Saved,,,\r\n`,
  );
});

it('stops: nothing new is sent, and the rest is reported', async () => {
  let release = () => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  const { sent } = await showImport({
    'POST api/secret': async ({ body }) => {
      await held;
      return body;
    },
  });
  const lines = Array.from({ length: 50 }, (_, i) => `k${i},1,2`);
  await paste(['key,app_id,app_secret', ...lines].join('\n'));
  fireEvent.click(await screen.findByText('Replace the values of secrets that already exist'));
  fireEvent.click(screen.getByRole('button', { name: 'Save 50 secrets' }));
  await waitFor(() => expect(sent.filter((one) => one.method === 'POST')).toHaveLength(4));
  fireEvent.click(screen.getByRole('button', { name: 'Stop' }));
  release();
  await screen.findByText('4 saved, 0 already exist, 0 refused, 46 not sent, of 50');
});

it('offers nothing to whoever may not add secrets', async () => {
  await show(<ImportPage />, { ...answers, 'GET api/session': () => sessionOf(['admin_read']) }, '/?realm=shop');
  await screen.findByText('You do not have the right to add secrets to this realm.');
  expect(screen.queryByLabelText('Or paste the table')).toBeNull();
});
