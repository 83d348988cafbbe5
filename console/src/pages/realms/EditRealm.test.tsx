import { fireEvent, screen, waitFor } from '@testing-library/react';
import { expect, it } from 'vitest';
import { sessionOf, show } from '../secrets/testing';
import EditRealm from './EditRealm';

it('warns of secrets that the change makes useless, and leaves once there is none', async () => {
  const warnings = ['2 of 3 secrets cannot be used with the realm, such as main: fields.b: is missing'];
  let answer = 0;
  const { router } = await show(
    <EditRealm />,
    {
      'GET api/session': () => sessionOf(['admin', 'admin_read']),
      'GET api/realm/shop': () => ({ id: 'shop', config: { url: 'https://shop.example/t' } }),
      'POST api/realm': ({ body }) => ({ ...(body as object), ...(answer++ === 0 ? { warnings } : {}) }),
    },
    '/realms/shop/edit',
    '/realms/:id/*',
  );
  fireEvent.click(await screen.findByRole('button', { name: 'Save' }));
  await screen.findByText('Secrets that cannot be used with the realm as it is now: 2, such as main.');
  await screen.findByText(warnings[0] ?? '');
  expect(router.state.location.pathname).toBe('/realms/shop/edit');
  fireEvent.click(screen.getByRole('button', { name: 'Save' }));
  await waitFor(() => expect(router.state.location.pathname).toBe('/realms/shop'));
});
