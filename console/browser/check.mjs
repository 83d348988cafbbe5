// Opens every page of the built console in Chromium, in both languages, both
// themes and two sizes, and fails where
//
//   - axe has a serious or critical finding,
//   - the Content-Security-Policy is violated, or the page throws,
//   - the page asks another host for anything,
//   - the page is wider than the screen.
//
//	CHROMIUM=/usr/bin/chromium node browser/check.mjs
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';
import { state } from './fixtures.mjs';
import { serve } from './server.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

// The pages are read from the routes, so that none is forgotten. `:id` and so on
// are names that the answers of server.mjs do not depend on.
const source = readFileSync(new URL('../src/app/routes.tsx', import.meta.url), 'utf8');
const paths = [...source.matchAll(/path: '([^']+)'/g)].map(([, path]) => path.replace(/:(\w+)/g, '$1'));
if (paths.length < 12) {
  throw new Error(`only ${paths.length} pages were found in routes.tsx`);
}
const pages = [...paths.map((path) => ({ path, signedIn: true })), { path: '/no-such-page', signedIn: true }, { path: '/', signedIn: false }];

const faults = [];

// violations runs axe on the page as it is.
async function violations(page) {
  await page.evaluate(axe);
  const { violations: found } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  return found
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id} at ${target}: ${failureSummary?.replace(/\s+/g, ' ')}`));
}

async function check(browser, address, { locale, colorScheme, width }) {
  // axe is put into the page by the protocol of the browser, which bypasses the
  // policy; the page itself does not.
  const context = await browser.newContext({ locale, colorScheme, viewport: { width, height: 900 }, reducedMotion: 'reduce' });
  const page = await context.newPage();
  let where = '';
  const report = (what) => faults.push(`${where}: ${what}`);
  page.on('pageerror', (error) => report(`the page threw: ${error.message}`));
  page.on('console', (message) => {
    // A 403 is how the API says that nobody is signed in.
    if (message.type() === 'error' && !message.text().includes('403')) report(message.text());
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(address) && !request.url().startsWith('data:')) report(`asked ${request.url()}`);
  });
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => console.error(`policy: ${event.violatedDirective} ${event.sourceFile} ${event.sample}`));
  });
  for (const { path, signedIn } of pages) {
    where = `${signedIn ? path : 'sign-in'} ${locale} ${colorScheme} ${width}`;
    state.signedIn = signedIn;
    await page.goto('about:blank');
    await page.goto(`${address}/#${path}`);
    await page.locator('h1, h2').first().waitFor({ timeout: 20_000 }).catch(() => report('there is no heading'));
    await page.waitForFunction(() => !document.querySelector('.ant-spin-spinning, .ant-skeleton-active'), { timeout: 20_000 }).catch(() => report('it still loads'));
    (await violations(page)).forEach(report);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    if (wide > width) report(`${wide} pixels wide`);
    const language = await page.evaluate(() => document.documentElement.lang);
    if (!locale.startsWith(language)) report(`the language is ${language}`);
  }
  await context.close();
}

const server = await serve();
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
  ],
});
try {
  const address = `http://127.0.0.1:${server.address().port}`;
  for (const locale of ['en', 'zh-CN']) {
    await check(browser, address, { locale, colorScheme: 'light', width: 1280 });
    await check(browser, address, { locale, colorScheme: 'dark', width: 390 });
  }
  await check(browser, address, { locale: 'en', colorScheme: 'dark', width: 1280 });
  await check(browser, address, { locale: 'zh-CN', colorScheme: 'light', width: 390 });
} finally {
  await browser.close();
  server.closeAllConnections();
  server.close();
}
if (faults.length > 0) {
  console.error([...new Set(faults)].join('\n'));
  console.error(`${faults.length} faults in ${pages.length} pages`);
  process.exit(1);
}
console.log(`${pages.length} pages in both languages and themes: no fault`);
