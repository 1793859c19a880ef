// A shared PC's PIN, and a browser elsewhere, which needs an API key.
import { assert, encoder, finish, key, open, says } from './rig.mjs';

// The PIN: wrong, right, kept over a reload, and asked for again after "Lock".
const page = await open({ ready: false, expected: ['401'] });
await page.getByRole('heading', { name: 'PIN' }).waitFor();
assert.equal(await page.locator('.station').count(), 0, 'nothing is shown before the PIN');
await page.getByLabel('PIN').fill('1111');
await page.getByRole('button', { name: 'Unlock' }).click();
await page.getByText('That PIN is not right.').waitFor();
await page.getByLabel('PIN').fill('2468');
await page.keyboard.press('Enter');
await says(page, 'Ready. No card on the encoder.');
assert.equal(await page.evaluate(() => document.cookie), '', 'no script sees the cookie');
await page.reload();
await says(page, 'Ready. No card on the encoder.');
await page.getByRole('button', { name: 'Lock' }).click();
await page.getByRole('heading', { name: 'PIN' }).waitFor();

// As through a proxy: no session, whatever the PIN; a key works, for this tab.
const elsewhere = await open({ ready: false, expected: ['401'], extraHTTPHeaders: { 'X-Forwarded-For': '203.0.113.7' } });
await elsewhere.getByRole('heading', { name: 'API key' }).waitFor();
await elsewhere.getByLabel('API key').fill('seam_not_the_right_one');
await elsewhere.keyboard.press('Enter');
await elsewhere.getByText('This API key is not right.').waitFor();
await elsewhere.getByLabel('API key').fill(key);
await elsewhere.keyboard.press('Enter');
await says(elsewhere, 'Ready. No card on the encoder.');
await encoder(0, 'place classic-1k:0badcafe');
await says(elsewhere, 'A card lies on the encoder.');
await elsewhere.getByRole('link', { name: 'Read card' }).click();
await elsewhere.getByRole('button', { name: 'Read card' }).click();
await elsewhere.locator('.panel').getByText('There is no key on this card.').waitFor();
await elsewhere.getByRole('link', { name: 'Encoders' }).click();
await elsewhere.getByText('work on the PC that the encoder is plugged into').waitFor();
const kept = await elsewhere.evaluate(() => [Object.values(localStorage), Object.values(sessionStorage)]);
assert.ok(!kept[0].includes(key) && kept[1].includes(key), 'the key stays in the tab');
await finish(page, elsewhere);
