import { createCache, extractStyle as extractFrom, StyleProvider } from '@ant-design/cssinjs';
import { extractStyle } from '@ant-design/static-style-extract';
import { ConfigProvider } from 'antd';
import { createElement } from 'react';
import type { Plugin } from 'vite';
import { dark, light, type Theme } from '../src/app/themes.ts';

const name = 'virtual:antd.css';

// Components that the console does not use, and that are large.
const unused = ['Calendar', 'Carousel', 'ColorPicker', 'FloatButton', 'Image', 'Mentions', 'QRCode', 'Rate', 'Tour', 'Transfer', 'Watermark'];

// styles renders every component once and returns what cssinjs made of it: the
// rules, or only the variables that make a theme.
function styles(theme: Theme, types: ('style' | 'token' | 'cssVar')[]): string {
  const cache = createCache();
  extractStyle({
    excludes: unused,
    customTheme: (node) =>
      createElement(StyleProvider, { cache }, createElement(ConfigProvider, { theme: { ...theme, zeroRuntime: false } }, node)),
  });
  return extractFrom(cache, { plain: true, types });
}

// antdStyles does at build time what Ant Design else does in the browser with
// <style> elements, which the Content-Security-Policy of the page forbids:
//
//   - `import 'virtual:antd.css'` is the style sheet of all components, with
//     the variables of both themes;
//   - the few styles that remain dynamic (the tokens of the theme, the lock of
//     the scroll bar under a dialog) become constructed style sheets: the two
//     modules that add <style> elements are replaced.
export function antdStyles(): Plugin {
  return {
    name: 'antd-styles',
    enforce: 'pre',
    resolveId(id) {
      return id === name ? `\0${name}` : undefined;
    },
    load(id) {
      if (id === `\0${name}`) {
        return styles(light, ['style', 'token', 'cssVar']) + styles(dark, ['token', 'cssVar']);
      }
      if (/@rc-component\/util\/es\/Dom\/dynamicCSS\.js$|@ant-design\/icons\/es\/cssUtils\.js$/.test(id)) {
        return `export * from ${JSON.stringify(new URL('../src/app/dynamic-css.ts', import.meta.url).pathname)};`;
      }
      return undefined;
    },
  };
}
