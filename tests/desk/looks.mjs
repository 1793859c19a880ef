// Small and large, light and dark, five languages: nothing is cut off, nothing fails axe-core, simulated is said loudly.
import { mkdirSync } from 'node:fs';
import { accessible, assert, encoder, fill, finish, open, says } from './rig.mjs';

const VIEWS = ['key', 'read', 'guests', 'history', 'encoders'];
const pictures = process.env.DESK_PICTURES;
if (pictures) mkdirSync(pictures, { recursive: true });

/** No content is wider than the window, and everything that is pressed is large enough. */
async function fits(page, what) {
  const { wide, small } = await page.evaluate(() => ({
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    small: [...document.querySelectorAll('button, a, input, select, summary')].filter((one) => {
      const box = (one.type === 'checkbox' ? one.closest('label') : one).getBoundingClientRect();
      return box.width > 0 && one.className !== 'skip' && (box.width < 24 || box.height < 24);
    }).map((one) => one.outerHTML),
  }));
  assert.equal(wide, 0, `${what} is ${wide} px too wide`);
  assert.deepEqual(small, [], what);
}

const stay = await open();
await fill(stay, { guest: 'Ada Lovelace-Featherstonehaugh of Kensington Gardens', rooms: ['Room 101', 'Room 102', 'Room 103'] });
await stay.getByRole('button', { name: 'Make key' }).click();
await says(stay, 'is ready.');

const pages = [stay];
for (const colorScheme of ['light', 'dark']) {
  for (const width of [360, 1280]) {
    const page = await open({ colorScheme, viewport: { width, height: 800 }, path: '/#key' });
    pages.push(page);
    await says(page, 'A card lies on the encoder.');
    assert.ok(await page.locator('.simulated strong').isVisible(), 'the mark on a simulated encoder');
    for (const view of VIEWS) {
      const name = `${view}-${width}-${colorScheme}`;
      await page.goto(page.url().replace(/#.*/, `#${view}`));
      await page.locator('.view h1').waitFor();
      if (view === 'key') await page.getByRole('button', { name: 'Make key' }).click();
      if (view === 'read') {
        await page.getByRole('button', { name: 'Read card' }).click();
        await page.locator('.panel dl').waitFor();
        await page.getByRole('button', { name: 'Extend' }).click();
      }
      if (view === 'guests') {
        await page.locator('.stay-name').first().click();
        await page.locator('.cards li').waitFor();
      }
      if (view === 'history') await page.locator('.history .outcome').first().waitFor();
      if (view === 'encoders') {
        await page.locator('.device .simulated-badge').first().waitFor();
        await page.getByRole('button', { name: /^Rename: Front Desk/ }).click();
      }
      await fits(page, name);
      await accessible(page, name);
      if (pictures) await page.screenshot({ path: `${pictures}/${name}.png`, fullPage: true });
    }
    await page.getByRole('link', { name: 'Read card' }).click();
    await page.getByRole('button', { name: 'Read card' }).click();
    await page.getByRole('button', { name: 'Erase card' }).click();
    await accessible(page, `a question, ${width}, ${colorScheme}`);
    if (pictures) await page.screenshot({ path: `${pictures}/question-${width}-${colorScheme}.png` });
    await page.keyboard.press('Escape');
  }
}

// Tones of the sentence: a fault, and a prompt.
for (const colorScheme of ['light', 'dark']) {
  const page = await open({ colorScheme, viewport: { width: 360, height: 800 } });
  pages.push(page);
  await encoder(0, 'place classic-1k:0badbeef');
  await says(page, 'Several cards');
  await accessible(page, `a fault, ${colorScheme}`);
  if (pictures) await page.screenshot({ path: `${pictures}/fault-360-${colorScheme}.png` });
  await encoder(0, 'remove');
  await says(page, 'Ready.');
  await fill(page, { guest: 'Ada', rooms: ['Room 104'], copies: 2 });
  await page.getByRole('button', { name: 'Make key' }).click();
  await says(page, 'Put card 1 of 2');
  await accessible(page, `a prompt, ${colorScheme}`);
  if (pictures) await page.screenshot({ path: `${pictures}/prompt-360-${colorScheme}.png` });
  await page.getByRole('button', { name: 'Cancel' }).click();
  await encoder(0, 'place classic-1k:deadbeef');
  await says(page, 'A card lies on the encoder.');
}

// Languages: by the browser's, with a switch that is remembered.
const TITLES = { en: 'Make a key', de: 'Schlüssel machen', fr: 'Faire une clé', es: 'Hacer una llave', it: 'Creare una chiave' };
for (const [language, title] of Object.entries(TITLES)) {
  const page = await open({ locale: `${language}-CH`, viewport: { width: 360, height: 800 } });
  pages.push(page);
  await page.getByRole('heading', { name: title }).waitFor();
  assert.equal(await page.getAttribute('html', 'lang'), language);
  for (const view of VIEWS) {
    await page.goto(page.url().replace(/#.*|$/, `#${view}`));
    await page.locator('.view h1').waitFor();
    await fits(page, `${view} in ${language}`);
  }
  await accessible(page, `in ${language}`);
}
const page = await open({ locale: 'ja-JP' });
pages.push(page);
await page.getByRole('heading', { name: TITLES.en }).waitFor();
await page.locator('#language').selectOption('it');
await page.getByRole('heading', { name: TITLES.it }).waitFor();
await page.reload();
await page.getByRole('heading', { name: TITLES.it }).waitFor();

await finish(...pages);
