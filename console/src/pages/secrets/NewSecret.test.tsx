import { fireEvent, screen, waitFor } from '@testing-library/react';
import { expect, it } from 'vitest';
import NewSecret from './NewSecret';
import { sessionOf, show } from './testing';

it('shows the warnings about a new secret before it leads to its page', async () => {
  const { router } = await show(
    <NewSecret />,
    {
      'GET api/session': () => sessionOf(['admin', 'admin_read']),
      'GET api/realm/shop': () => ({ id: 'shop', config: {}, reads: ['app_id'] }),
      'GET api/realm?': () => ({ data: { list: [], total: 0 } }),
      'GET api/secret?': () => ({ data: { list: [], total: 0 } }),
      'POST api/secret': ({ body }) => ({ ...(body as object), warnings: ['fields.ticket: is missing; without it there is no token'] }),
    },
    '/?realm=shop',
  );
  fireEvent.change(await screen.findByLabelText('Key'), { target: { value: 'main' } });
  fireEvent.change(await screen.findByLabelText('app_id'), { target: { value: '1' } });
  fireEvent.click(screen.getByRole('button', { name: 'Save' }));
  await screen.findByText('ticket is missing. Without it there is no token.');
  // It is there: another save of the form would find it in its way.
  expect(screen.queryByRole('button', { name: 'Save' })).toBeNull();
  fireEvent.click(screen.getByRole('button', { name: 'To the secret' }));
  await waitFor(() => expect(router.state.location.pathname).toBe('/secrets/shop/main'));
});
