// Two encoders: which one is used, names, links, and a lamp that is not there.
import { assert, encoder, finish, hub, open, says } from './rig.mjs';

const page = await open({ path: '/#encoders', expected: ['409'] });
const device = (name) => page.locator('.device', { has: page.getByRole('heading', { name }) });

await device('Front Desk').waitFor();
await device('Concierge').waitFor();
await device('Concierge').getByRole('button', { name: /Use this one/ }).or(device('Concierge').getByText('In use here')).first().waitFor();
await page.locator('#encoder').selectOption({ label: 'Front Desk · SIMULATED' });
await says(page, 'A card lies on the encoder.');
await device('Front Desk').getByText('In use here').waitFor();
await device('Concierge').getByRole('button', { name: /Use this one/ }).click();
await says(page, 'Ready. No card on the encoder.');
await encoder(1, 'place classic-1k:0badcafe');
await says(page, 'A card lies on the encoder.');
await device('Concierge').getByText('Card lies there').waitFor();

// A virtual PN532 has no lamp, and the page says so.
await device('Concierge').getByRole('button', { name: /Wink/ }).click();
await says(page, 'This encoder has no lamp or buzzer that encoderd can use.');

// Its name, everywhere.
await device('Concierge').getByRole('button', { name: /Rename/ }).click();
await device('Concierge').getByLabel('Name', { exact: true }).fill('Night desk');
await page.keyboard.press('Enter');
await device('Night desk').waitFor();
const names = async () => (await hub('/acs/encoders/list')).acs_encoders.map(({ display_name: name }) => name).sort();
assert.deepEqual(await names(), ['Front Desk', 'Night desk']);

// Unlinked and linked again to the same encoder of the hub.
await device('Night desk').getByRole('button', { name: /Unlink/ }).click();
const free = page.locator('.device', { hasText: 'This device is linked to no encoder.' });
await free.waitFor();
await free.getByLabel('Link to').selectOption({ label: 'Night desk' });
await free.getByRole('button', { name: 'Link' }).click();
await free.waitFor({ state: 'detached' });
await device('Night desk').getByRole('button', { name: /Unlink/ }).waitFor();
assert.deepEqual(await names(), ['Front Desk', 'Night desk']);

// The choice outlives a reload.
await page.reload();
await says(page, 'A card lies on the encoder.');
assert.equal(await page.locator('.card-number').textContent(), '0badcafe');
await finish(page);
