import { QueryClientProvider } from '@tanstack/react-query';
import { configure, render } from '@testing-library/react';
import { App } from 'antd';
import i18next from 'i18next';
import type { ReactElement } from 'react';
import { initReactI18next } from 'react-i18next';
import { createMemoryRouter, RouterProvider } from 'react-router';
import { vi } from 'vitest';
import { queryClient } from '../../api/query';
import common from '../../i18n/en/common.json';
import realms from '../../i18n/en/realms.json';
import secrets from '../../i18n/en/secrets.json';

// Machines that build something else at the same time are slow.
configure({ asyncUtilTimeout: 8_000 });
vi.setConfig({ testTimeout: 30_000 });

/** A request that the page sent. */
export interface Sent {
  method: string;
  /** Path and query below the page: api/secret?page=1 */
  path: string;
  body: unknown;
}

/** The answer to a request: what is sent as JSON, or an error document with its status. */
export type Answer = (sent: Sent) => unknown;

const RIGHTS = ['use', 'read', 'flush', 'authorize', 'push', 'admin_read', 'admin', 'audit'];

/** What GET /api/session says of somebody with these rights. */
export function sessionOf(rights: string[]) {
  const of = <T,>(yes: T, no: T) => Object.fromEntries(RIGHTS.map((r) => [r, rights.includes(r) ? yes : no]));
  return { kind: 'client', id: 'test', rights: of('all', 'none'), here: of(true, false) };
}

/** Thrown by an answer: a problem document. */
export class Refusal {
  constructor(
    readonly status: number,
    readonly problem: object,
  ) {}
}

/**
 * Shows an element at a path, in front of an API that answers with the first of
 * the answers whose name ("GET api/secret") a request begins with.
 */
export async function show(element: ReactElement, answers: Record<string, Answer>, at = '/', pattern = '*') {
  queryClient.clear();
  const sent: Sent[] = [];
  vi.stubGlobal('fetch', async (input: Request) => {
    const url = new URL(input.url);
    const text = await input.text();
    const one: Sent = {
      method: input.method,
      path: `${url.pathname.slice(1)}${url.search}`,
      body: text === '' ? undefined : (JSON.parse(text) as unknown),
    };
    sent.push(one);
    const name = Object.keys(answers).find((prefix) => `${one.method} ${one.path}`.startsWith(prefix));
    try {
      if (name === undefined) throw new Refusal(404, { code: 'not_found', detail: `nothing answers ${one.path}` });
      return Response.json(await answers[name]?.(one));
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal;
      return Response.json(refusal.problem, { status: refusal.status });
    }
  });
  await i18next.use(initReactI18next).init({
    lng: 'en',
    resources: { en: { common, realms, secrets } },
    defaultNS: 'common',
    interpolation: { escapeValue: false },
  });
  const router = createMemoryRouter([{ path: pattern, element }], { initialEntries: [at] });
  const view = render(
    <App>
      <QueryClientProvider client={queryClient}>
        <RouterProvider router={router} />
      </QueryClientProvider>
    </App>,
  );
  return { ...view, sent, router };
}

/** Everywhere a value may have been left behind, as one text. */
export function traces(): string {
  const inputs = [...document.querySelectorAll<HTMLInputElement>('input, textarea')].map((one) => one.value);
  const caches = [...queryClient.getQueryCache().getAll(), ...queryClient.getMutationCache().getAll()].map(
    (one) => one.state,
  );
  return JSON.stringify([
    document.documentElement.outerHTML,
    inputs,
    caches,
    { ...localStorage },
    { ...sessionStorage },
    window.location.href,
  ]);
}
