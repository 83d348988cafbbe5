import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';
import { antdStyles } from './build-tools/antd-styles.ts';

// The licences of the packages that the page consists of ask to be kept with it.
// The name changes with the packages: files below assets/ are cached for ever.
const packages = readFileSync(new URL('package-lock.json', import.meta.url));
const licenses = `assets/licenses-${createHash('sha256').update(packages).digest('hex').slice(0, 8)}.txt`;

// The page is served by `token_console` with a Content-Security-Policy that
// allows no inline script or style, below any path. So: relative URLs, every
// asset a file of its own with a hash in its name, and no source maps.
export default defineConfig({
  base: './',
  plugins: [
    react(),
    antdStyles(),
    {
      name: 'link-licenses',
      transformIndexHtml: () => [{ tag: 'link', attrs: { rel: 'license', href: `./${licenses}` }, injectTo: 'head' }],
    },
  ],
  build: {
    outDir: 'build',
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    sourcemap: false,
    license: { fileName: licenses },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 1500,
  },
  server: {
    host: '127.0.0.1',
    // `npm run dev` shows the page with the API of a Caddy on this machine:
    // the admin site of Caddyfile.example.
    proxy: Object.fromEntries(
      ['/api', '^/[^/]+-account/'].map((path) => [path, process.env.TOKENS_API ?? 'http://127.0.0.1:8081']),
    ),
  },
  test: {
    environment: 'happy-dom',
    setupFiles: ['src/test-setup.ts'],
    restoreMocks: true,
    // Machines that build something else at the same time are slow.
    testTimeout: 30_000,
  },
});
