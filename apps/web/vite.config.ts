import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type Plugin } from 'vite';

// `npm run dev` shows the page of the source tree on a server that runs: SALIENT_URL says where.
const server = process.env.SALIENT_URL ?? 'http://127.0.0.1:8080';

/** Nothing is painted before the script ran, so that a chosen theme does not flash in the other one. */
const paintWithScript: Plugin = {
  name: 'paint-with-script',
  apply: 'build',
  transformIndexHtml: (html) => html.replace('<script type="module"', '<script type="module" blocking="render"'),
};

export default defineConfig({
  plugins: [svelte(), paintWithScript],
  build: {
    target: 'es2022',
    // The server's policy lets fonts come from files only.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: {
    proxy: Object.fromEntries(
      ['/api', '/v1', '/tokenize', '/metrics'].map((path) => [
        path,
        {
          target: server,
          changeOrigin: true,
          // The server refuses pages of other origins, and this one is served from another port.
          configure: (proxy) => proxy.on('proxyReq', (request) => request.removeHeader('origin')),
        },
      ]),
    ),
  },
});
