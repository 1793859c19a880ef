// What the tests of the clerk's page share: a browser, the virtual encoders' sockets, and patience for states.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { createInterface } from 'node:readline';

const { DESK_MODULES, DESK_URL, DESK_KEY, DESK_CONTROLS, DESK_CHROMIUM } = process.env;
const { chromium } = await import(`${DESK_MODULES}/playwright-core/index.mjs`);
const axe = readFileSync(`${DESK_MODULES}/axe-core/axe.min.js`, 'utf8');

export { assert };
export const url = DESK_URL;
export const key = DESK_KEY;

/** How long a state may take to come about. Not a measure of speed. */
export const PATIENCE = 20_000;

/** Sends a command to the n-th virtual encoder; returns what follows `ok`. */
export function encoder(index, command) {
  return new Promise((resolve, reject) => {
    const socket = createConnection(JSON.parse(DESK_CONTROLS)[index]);
    socket.on('error', reject);
    createInterface(socket).once('line', (line) => {
      socket.end();
      if (line.startsWith('ok')) resolve(line.slice(2).trim());
      else reject(new Error(`${command}: ${line}`));
    });
    socket.write(`${command}\n`);
  });
}

/** A path of the hub, as its owner: what really came of it. */
export async function hub(path, body = {}) {
  const answer = await fetch(`${url}${path}`, {
    method: 'POST', headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' }, body: JSON.stringify(body),
  });
  assert.equal(answer.status, 200, `${path}: ${await answer.clone().text()}`);
  return answer.json();
}

const browser = await chromium.launch({
  executablePath: DESK_CHROMIUM,
  args: process.getuid() === 0 ? ['--no-sandbox'] : [],
});

/** Opens the page as a clerk would. Every request elsewhere and every complaint of the browser fails the test. */
export async function open({ path = '/', ready = true, expected = [], ...options } = {}) {
  const context = await browser.newContext({ locale: 'en-GB', viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.complaints = [];
  const own = new URL(url).origin;
  await context.route('**/*', (route) => {
    if (new URL(route.request().url()).origin === own) return route.continue();
    page.complaints.push(`a request to ${route.request().url()}`);
    return route.abort();
  });
  page.on('pageerror', (error) => page.complaints.push(`${error.message}\n${error.stack}`));
  page.on('console', (message) => {
    const text = message.text();
    if (['error', 'warning'].includes(message.type()) && !expected.some((words) => text.includes(words))) page.complaints.push(text);
  });
  await page.goto(url + path);
  if (ready) await page.locator('.station').waitFor();
  return page;
}

/** The sentence, once it is this one. */
export async function says(page, words) {
  const sentence = page.locator('.station .text');
  try {
    await sentence.filter({ hasText: words }).waitFor();
  } catch {
    assert.fail(`the page says "${await sentence.textContent()}" and not "${words}"`);
  }
}

export function tone(page) {
  return page.locator('.station').getAttribute('data-tone');
}

/** What axe-core finds in what is shown now: nothing. */
export async function accessible(page, what) {
  // Its own script is not the page's: the policy is for those.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
  }));
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target).join(', ')}`);
  assert.deepEqual(found, [], what);
}

/** Fills in the form of a new key. */
export async function fill(page, { guest, rooms, copies = 1 }) {
  await page.getByLabel('Guest’s name').fill(guest);
  for (const room of rooms) await page.getByRole('checkbox', { name: room, exact: true }).check();
  if (copies > 1) await page.getByLabel('Number of cards').fill(String(copies));
}

/** Ends a script: every page that was opened must have been quiet. */
export async function finish(...pages) {
  for (const page of pages) assert.deepEqual(page.complaints, []);
  await browser.close();
}

process.on('unhandledRejection', async (error) => {
  console.error(error);
  await browser.close();
  process.exit(1);
});
