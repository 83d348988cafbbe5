import { render, screen } from '@testing-library/react';
import dayjs from 'dayjs';
import relativeTime from 'dayjs/plugin/relativeTime';
import { expect, test } from 'vitest';
import { TimeAgo } from './TimeAgo';

dayjs.extend(relativeTime);
const at = (minutes: number) => new Date(Date.now() + minutes * 60_000).toISOString();

test('what is due is not "2 minutes ago"', () => {
  render(
    <>
      <TimeAgo at={at(-2)} over="with the next call" />
      <TimeAgo at={at(5)} over="unused" />
      <TimeAgo at={at(-3)} />
    </>,
  );
  expect([...document.querySelectorAll('time')].map((one) => one.textContent)).toEqual(['with the next call', 'in 5 minutes', '3 minutes ago']);
  expect(screen.queryByText('unused')).toBeNull();
});
