import { expect, test } from 'vitest';

const texts = import.meta.glob<object>('./*/*.json', { eager: true, import: 'default' });

// keysOf returns the paths of all texts with the placeholders in each. A form
// for one thing (`_one`) exists in English only, and may say "one" in words.
function keysOf(value: unknown, path = ''): string[] {
  if (typeof value === 'string') {
    if (path.endsWith('_one')) {
      return [];
    }
    const names = [...value.matchAll(/{{\w+}}/g)].map(([name]) => name);
    return [`${path.replace(/_other$/, '')} ${[...new Set(names)].sort().join(' ')}`];
  }
  return Object.entries(value as object).flatMap(([key, inner]) => keysOf(inner, `${path}.${key}`));
}

// i18next shows the key where a text is missing.
test.each(Object.keys(texts).filter((path) => path.startsWith('./en/')))('%s says the same in Chinese', (path) => {
  const chinese = texts[path.replace('./en/', './zh/')];
  expect(chinese, `no Chinese file for ${path}`).toBeDefined();
  expect(keysOf(chinese).sort()).toEqual(keysOf(texts[path]).sort());
});
