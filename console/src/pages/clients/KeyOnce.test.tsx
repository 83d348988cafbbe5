import { fireEvent, render, screen, waitFor } from '@testing-library/react';
import { App } from 'antd';
import i18next from 'i18next';
import { useState } from 'react';
import { I18nextProvider, initReactI18next } from 'react-i18next';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import common from '../../i18n/en/common.json';
import en from '../../i18n/en/clients.json';
import { KeyOnce } from './KeyOnce';

const canary = 'ctk_CanaryThatMustNotStay0123456789';
const texts = i18next.createInstance();
beforeAll(() =>
  texts
    .use(initReactI18next)
    .init({ resources: { en: { clients: en, common } }, lng: 'en', defaultNS: 'common', interpolation: { escapeValue: false } }),
);
beforeEach(() => {
  window.location.hash = '#/clients/billing';
});

function Page() {
  const [key, setKey] = useState(canary);
  return (
    <>
      <a href="#/audit">audit</a>
      {key && <KeyOnce id="billing" value={key} onDone={() => setKey('')} />}
    </>
  );
}

const open = () =>
  render(
    <I18nextProvider i18n={texts}>
      <App>
        <Page />
      </App>
    </I18nextProvider>,
  );
// everything is what the page holds: its markup, the values of its fields, its
// address and what it stores.
const everything = () =>
  [
    document.documentElement.outerHTML,
    ...[...document.querySelectorAll('input, textarea')].map((field) => (field as HTMLInputElement).value),
    window.location.href,
    JSON.stringify({ ...localStorage, ...sessionStorage }),
    JSON.stringify(window.history.state),
  ].join('\n');

test('the key is gone from the page once it was confirmed', async () => {
  open();
  expect(everything()).toContain(canary);
  fireEvent.keyDown(screen.getByRole('dialog'), { key: 'Escape' });
  expect(everything()).toContain(canary);
  fireEvent.click(screen.getByRole('button', { name: en.key.done }));
  await waitFor(() => expect(everything()).not.toContain(canary));
});

test('whoever follows a link is asked first', async () => {
  open();
  fireEvent.click(screen.getByText('audit'));
  expect(await screen.findByText(en.key.leaveText)).toBeDefined();
  expect(window.location.hash).toBe('#/clients/billing');
  fireEvent.click(screen.getByRole('button', { name: common.leave.stay }));
  expect(everything()).toContain(canary);

  fireEvent.click(screen.getByText('audit'));
  fireEvent.click(await screen.findByRole('button', { name: common.leave.leave }));
  await waitFor(() => expect(window.location.hash).toBe('#/audit'));
  expect(everything()).not.toContain(canary);
});

test('whoever goes back or closes the page is asked first', async () => {
  open();
  window.dispatchEvent(new PopStateEvent('popstate'));
  expect(await screen.findByText(en.key.leaveText)).toBeDefined();
  expect(window.location.hash).toBe('#/clients/billing');

  const unload = new Event('beforeunload', { cancelable: true });
  window.dispatchEvent(unload);
  expect(unload.defaultPrevented).toBe(true);
  fireEvent.click(screen.getByRole('button', { name: common.leave.stay }));
  fireEvent.click(screen.getByRole('button', { name: en.key.done }));
  await waitFor(() => expect(everything()).not.toContain(canary));
  const later = new Event('beforeunload', { cancelable: true });
  window.dispatchEvent(later);
  expect(later.defaultPrevented).toBe(false);
});
