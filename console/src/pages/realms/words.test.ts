import { expect, it } from 'vitest';
import { durationOf } from './words';

it.each([
  [7_140_000, '1 h 59 min', '1 小时 59 分钟'],
  [7_200_000, '2 h', '2 小时'],
  [30_000, '30 s', '30 秒'],
  [90_061_000, '1 d 1 h', '1 天 1 小时'],
  [120, '120 ms', '120 毫秒'],
  [0, '0 s', '0 秒'],
])('%d ms are %s', (ms, en, zh) => {
  expect(durationOf(ms, 'en')).toBe(en);
  expect(durationOf(ms, 'zh')).toBe(zh);
});
