import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';
import { antdStyles } from './build-tools/antd-styles.ts';

// The page is served by `token_console` with a Content-Security-Policy that
// allows no inline script or style, below any path. So: relative URLs, every
// asset a file of its own with a hash in its name, and no source maps.
export default defineConfig({
  base: './',
  plugins: [react(), antdStyles()],
  build: {
    outDir: 'build',
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    sourcemap: false,
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
  },
});
