import { fireEvent, screen, waitFor } from '@testing-library/react';
import { expect, it } from 'vitest';
import { show } from '../pages/secrets/testing';
import { DataTable } from './DataTable';

interface Row {
  name: string;
}

// To draw rows takes longest of all: they were drawn when the page was asked for,
// when it was loading, and when it was there.
it('draws the rows of a page once', async () => {
  const drawn: string[] = [];
  const columns = [
    {
      title: 'name',
      render: (_: unknown, row: Row) => {
        drawn.push(row.name);
        return row.name;
      },
    },
  ];
  const nameOf = (row: Row) => row.name;
  const load = async ({ page }: { page: number }) => ({ list: [{ name: `row ${page}` }], total: 30 });
  await show(<DataTable<Row> queryKey={['rows']} load={load} columns={columns} rowKey={nameOf} label="rows" />, {});
  await screen.findByText('row 1');
  fireEvent.click(screen.getByTitle('2'));
  await screen.findByText('row 2');
  await waitFor(() => expect(screen.getByLabelText('rows').getAttribute('aria-busy')).toBe('false'));
  expect(drawn).toEqual(['row 1', 'row 2']);
});
