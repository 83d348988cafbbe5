import { fireEvent, screen } from '@testing-library/react';
import { expect, it } from 'vitest';
import { queryClient } from '../../api/query';
import { show } from '../secrets/testing';
import { RealmPicker } from './RealmPicker';

// A list of secrets waited for the names of realms, which hardly anybody chooses from.
it('asks for realms once it is opened', async () => {
  await show(<RealmPicker label="realm" value="" onChange={() => undefined} />, {
    'GET api/realm': () => ({ data: { list: [{ id: 'shop' }], total: 1 } }),
  });
  const picker = await screen.findByRole('combobox');
  expect(queryClient.isFetching()).toBe(0);
  fireEvent.mouseDown(picker);
  expect(await screen.findByTitle('shop')).toBeDefined();
});
