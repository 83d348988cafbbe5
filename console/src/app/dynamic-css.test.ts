import { afterEach, expect, test, vi } from 'vitest';
import { clearContainerCache, removeCSS, updateCSS } from './dynamic-css';

afterEach(clearContainerCache);

const rules = () => document.adoptedStyleSheets.flatMap((sheet) => [...sheet.cssRules].map((rule) => rule.cssText.replace(/\s+/g, '')));

test('styles become constructed sheets, never <style> elements', () => {
  updateCSS('a{color:red;}', 'one');
  updateCSS('b{color:red;}', 'two', { prepend: 'queue' });
  expect(rules()).toEqual(['b{color:red;}', 'a{color:red;}']);
  expect(document.querySelector('style')).toBeNull();
});

test('the same key is replaced, and removed only with its mark', () => {
  updateCSS('a{color:red;}', 'key', { mark: 'm' });
  updateCSS('a{color:blue;}', 'key', { mark: 'm' });
  expect(rules()).toEqual(['a{color:blue;}']);
  removeCSS('key');
  expect(rules()).toHaveLength(1);
  removeCSS('key', { mark: 'm' });
  expect(rules()).toEqual([]);
});

test('what says the same is not replaced', () => {
  const replace = vi.spyOn(CSSStyleSheet.prototype, 'replaceSync');
  updateCSS('a{color:red;}', 'key');
  updateCSS('a{color:red;}', 'key');
  expect(replace).toHaveBeenCalledTimes(1);
});
