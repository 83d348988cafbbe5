import { screen } from '@testing-library/react';
import { expect, it } from 'vitest';
import { sessionOf, show } from '../secrets/testing';
import RealmsPage from './index';

// Each row asked for two numbers of its own: 43 requests a page.
it('asks for the numbers of all its rows at once', async () => {
  const realms = Array.from({ length: 20 }, (_, i) => ({
    id: `realm-${i}`,
    counts: { secrets: i, attention: i === 3 ? 2 : 0, states: { live: i } },
  }));
  const { sent } = await show(<RealmsPage />, {
    'GET api/session': () => sessionOf(['admin_read']),
    'GET api/preset': () => ({ data: { list: [], total: 0 } }),
    'GET api/realm': () => ({ data: { list: realms, total: 20 } }),
  });
  await screen.findByText('realm-19');
  expect(screen.getByRole('link', { name: '7 secrets of realm-7' }).textContent).toBe('7');
  expect(screen.getAllByText('2 need attention')).toHaveLength(1);
  const asked = sent.map((one) => one.path).filter((path) => !/^api\/(session|preset)/.test(path));
  expect(asked).toEqual(['api/realm?page=1&pageSize=20&counts=true']);
});
