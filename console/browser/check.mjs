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

// byKeys goes through the frame with the keyboard only: past the menu with the
// first link of the page, to another page by the menu (on a phone in a drawer),
// and to the other language.
async function byKeys(page, width, report) {
  const focused = () => page.evaluate(() => document.activeElement?.textContent || document.activeElement?.id || document.activeElement?.ariaLabel);
  const tabTo = async (selector) => {
    for (let presses = 0; presses < 40; presses++) {
      if (await page.evaluate((wanted) => document.activeElement?.matches(wanted), selector)) return;
      await page.keyboard.press('Tab');
    }
    report(`Tab does not lead to ${selector}, but to ${await focused()}`);
  };
  await tabTo('.skip');
  await page.keyboard.press('Enter');
  if (!(await page.evaluate(() => document.activeElement?.id === 'content'))) report('the skip link does not lead to the content');

  await page.evaluate(() => document.activeElement?.blur());
  if (width < 992) {
    await tabTo('.head > .ant-btn');
    await page.keyboard.press('Enter');
    await page.locator('.ant-drawer nav').waitFor({ timeout: 20_000 }).catch(() => report('the menu does not open by keys'));
    (await violations(page)).forEach((found) => report(`menu: ${found}`));
  }
  await tabTo('a[href="#/audit"]');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => location.hash === '#/audit', undefined, { timeout: 20_000 }).catch(() => report('the menu cannot be used by keys'));

  if (width < 992) {
    // The drawer gives the focus back to its button when it has closed.
    await page.locator('.ant-drawer nav').waitFor({ state: 'hidden', timeout: 20_000 }).catch(() => report('the menu stays open'));
    await page.waitForFunction(() => document.activeElement?.matches('.head > .ant-btn'), undefined, { timeout: 20_000 }).catch(() => report('the focus is lost when the menu closes'));
  }
  const before = await page.evaluate(() => document.documentElement.lang);
  await tabTo('.settings .ant-btn:first-child');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.activeElement?.closest('.ant-dropdown-menu'), undefined, { timeout: 20_000 }).catch(() => report('the menu of languages does not open by keys'));
  const other = before === 'en' ? '中文' : 'English';
  for (let presses = 0; presses < 20 && (await focused()) !== other; presses++) {
    await page.keyboard.press('ArrowDown');
    await page.waitForTimeout(50);
  }
  await page.keyboard.press('Enter');
  await page.waitForFunction((was) => document.documentElement.lang !== was, before, { timeout: 20_000 }).catch(() => report('the language cannot be chosen by keys'));
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
    await page.locator('h1, h2').first().waitFor({ timeout: 60_000 }).catch(() => report('there is no heading'));
    await page.waitForFunction(() => !document.querySelector('.ant-spin-spinning, .ant-skeleton-active'), { timeout: 60_000 }).catch(() => report('it still loads'));
    // What fades in has no contrast yet.
    await page.waitForFunction(() => !document.querySelector('[class*="-appear"]'), undefined, { timeout: 20_000 }).catch(() => report('something still fades in'));
    (await violations(page)).forEach(report);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    if (wide > width) report(`${wide} pixels wide`);
    const language = await page.evaluate(() => document.documentElement.lang);
    if (!locale.startsWith(language)) report(`the language is ${language}`);
  }
  where = `keyboard ${locale} ${width}`;
  state.signedIn = true;
  await page.goto('about:blank');
  await page.goto(`${address}/#/`);
  await page.locator('h1').first().waitFor();
  await byKeys(page, width, report);
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
