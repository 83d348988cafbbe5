import { render, screen } from '@testing-library/react';
import { Suspense } from 'react';
import { expect, it, vi } from 'vitest';
import { pageOf } from './page';

const shown = (Component: ReturnType<typeof pageOf>['Component']) =>
  render(
    <Suspense fallback="wait">
      <Component />
    </Suspense>,
  );

it('shows a page that was loaded ahead at once', async () => {
  const { Component, ahead } = pageOf(async () => ({ default: () => 'the page' }), ['common']);
  await ahead?.();
  shown(Component);
  expect(screen.queryByText('wait')).toBeNull();
  expect(screen.getByText('the page')).toBeDefined();
});

it('loads a page when somebody goes there', async () => {
  const load = vi.fn(async () => ({ default: () => 'the page' }));
  const { Component } = pageOf(load, ['common']);
  expect(load).not.toHaveBeenCalled();
  shown(Component);
  expect(screen.getByText('wait')).toBeDefined();
  expect(await screen.findByText('the page')).toBeDefined();
});
