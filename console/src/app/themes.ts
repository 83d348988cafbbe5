import { type ConfigProviderProps, theme } from 'antd';

export type Theme = NonNullable<ConfigProviderProps['theme']>;

// Fonts of the machine only: no other host is asked for anything.
const fontFamily =
  "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'PingFang SC', 'Microsoft YaHei', 'Noto Sans CJK SC', 'Noto Sans SC', sans-serif";

// The styles are extracted at build time (build-tools/antd-styles.ts), so the
// names of the classes must not depend on the theme (hashed), and each theme
// has a fixed class that carries its variables (cssVar.key).
export const light: Theme = {
  algorithm: theme.defaultAlgorithm,
  hashed: false,
  zeroRuntime: true,
  cssVar: { key: 'theme-light' },
  // Ant Design's own blue and greys miss the contrast of WCAG AA (4.5 to 1) in
  // links, placeholders and secondary text.
  token: {
    fontFamily,
    colorPrimary: '#0958d9',
    colorLink: '#0958d9',
    colorSuccess: '#237804',
    colorSuccessBg: '#f6ffed',
    colorSuccessBorder: '#b7eb8f',
    colorWarning: '#ad4e00',
    colorWarningBg: '#fffbe6',
    colorWarningBorder: '#ffe58f',
    colorError: '#cf1322',
    colorTextSecondary: 'rgba(0, 0, 0, 0.68)',
    colorTextTertiary: 'rgba(0, 0, 0, 0.62)',
    colorTextDescription: 'rgba(0, 0, 0, 0.65)',
    colorTextPlaceholder: 'rgba(0, 0, 0, 0.58)',
  },
};

export const dark: Theme = {
  algorithm: theme.darkAlgorithm,
  hashed: false,
  zeroRuntime: true,
  cssVar: { key: 'theme-dark' },
  components: { Tabs: { itemSelectedColor: '#65a9f3' } },
  token: {
    fontFamily,
    colorPrimary: '#3c89e8',
    colorLink: '#65a9f3',
    colorError: '#f0706f',
    colorTextSecondary: 'rgba(255, 255, 255, 0.72)',
    colorTextTertiary: 'rgba(255, 255, 255, 0.65)',
    colorTextDescription: 'rgba(255, 255, 255, 0.65)',
    colorTextPlaceholder: 'rgba(255, 255, 255, 0.55)',
  },
};
