import { expect, test } from 'vitest';
import { takeLink } from './link';

test('the code of a one-time link does not stay in the address', () => {
  window.history.replaceState(null, '', '/tokens/#link=a%2Bb');
  expect(takeLink()).toBe('a+b');
  expect(window.location.hash).toBe('#/');
  expect(window.location.pathname).toBe('/tokens/');
  expect(takeLink()).toBeUndefined();
});

test('a code that is damaged is taken as it is', () => {
  window.history.replaceState(null, '', '/#link=%E0%A4%A');
  expect(takeLink()).toBe('%E0%A4%A');
  expect(window.location.hash).toBe('#/');
});

test('other addresses stay', () => {
  window.history.replaceState(null, '', '/#/realms/a');
  expect(takeLink()).toBeUndefined();
  expect(window.location.hash).toBe('#/realms/a');
});
