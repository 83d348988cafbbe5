import { expect, test } from 'vitest';
import { reasonOf } from './reasons';

const say = (result: { reason?: string; code?: string }) => reasonOf(result, (name) => name, (name) => name === 'common:error.budget_spent');

test('why an account failed is said by the code, and the words of the server stand behind', () => {
  expect(say({})).toEqual({});
  expect(say({ reason: 'the token is still fresh' })).toEqual({ text: 'reason.fresh' });
  expect(say({ reason: 'forbidden', code: 'forbidden' })).toEqual({ text: 'reason.forbidden' });
  expect(say({ reason: 'no call now', code: 'budget_spent' })).toEqual({ text: 'common:error.budget_spent', said: 'no call now' });
  expect(say({ reason: 'no call now', code: 'of_a_newer_version' })).toEqual({ said: 'no call now' });
});
