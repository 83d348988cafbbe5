import { QueryClientProvider } from '@tanstack/react-query';
import { render, screen } from '@testing-library/react';
import { afterEach, expect, test, vi } from 'vitest';
import { queryClient } from './query';
import { useHere } from './session';

afterEach(() => vi.unstubAllGlobals());

function Rights({ realm }: { realm: string }) {
  const may = useHere(realm);
  return <p>{`${realm}: ${may('admin') ? 'may' : 'may not'}`}</p>;
}

const page = (realm: string) => (
  <QueryClientProvider client={queryClient}>
    <Rights realm={realm} />
  </QueryClientProvider>
);

// The rights for the realm before were those of the next one until its own came.
test('the rights for one realm are never taken for those of another', async () => {
  vi.stubGlobal('fetch', (request: Request) =>
    new URL(request.url).searchParams.get('realm') === 'mine'
      ? Promise.resolve(new Response('{"here":{"admin":true}}', { headers: { 'Content-Type': 'application/json' } }))
      : new Promise<Response>(() => undefined),
  );
  const { rerender } = render(page('mine'));
  await screen.findByText('mine: may');
  rerender(page('other'));
  expect(screen.getByText('other: may not')).toBeTruthy();
});
