import { expect, test } from 'vitest';

const texts = import.meta.glob<object>('./*/*.json', { eager: true, import: 'default' });

// keysOf returns the paths of all texts, and the placeholders in each.
function keysOf(value: unknown, path = ''): string[] {
  if (typeof value === 'string') {
    return [`${path} ${[...value.matchAll(/{{\w+}}/g)].map(([name]) => name).sort().join(' ')}`];
  }
  return Object.entries(value as object).flatMap(([key, inner]) => keysOf(inner, `${path}.${key.replace(/_(one|other)$/, '')}`));
}

// i18next shows the key where a text is missing; plurals exist in English only.
test.each(Object.keys(texts).filter((path) => path.startsWith('./en/')))('%s says the same in Chinese', (path) => {
  const chinese = texts[path.replace('./en/', './zh/')];
  expect(chinese, `no Chinese file for ${path}`).toBeDefined();
  expect([...new Set(keysOf(chinese))].sort()).toEqual([...new Set(keysOf(texts[path]))].sort());
});
