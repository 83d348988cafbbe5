import { expect, test } from 'vitest';
import { wayOf } from './authorizable';

test.each([
  [{ authorize: { url: 'https://x' } }, undefined, 'person'],
  [{ authorize: { url: 'https://x' }, unattended: true }, undefined, 'server'],
  [{ grant: { name: 'authorization_code' } }, undefined, 'person'],
  [{ preset: 'jd_vop' }, { authorize: { url: 'https://x' }, unattended: true }, 'server'],
  [{ preset: 'jd_vop', unattended: false }, { authorize: { url: 'https://x' }, unattended: true }, 'person'],
  [{ grant: { name: 'client_credentials' } }, undefined, 'none'],
  // A recipe without a URL is only further parameters of a grant.
  [{ authorize: {} }, undefined, 'none'],
  [undefined, undefined, 'none'],
] as const)('%j with preset %j', (config, preset, way) => {
  expect(wayOf(config, preset)).toBe(way);
});
