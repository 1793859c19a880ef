// Each fault that a clerk meets, by its physical cause, with its sentence, and what happens when it is mended.
import { readFileSync, writeFileSync } from 'node:fs';
import { assert, encoder, fill, finish, open, says, tone } from './rig.mjs';

const page = await open({ path: '/#read' });
const read = () => page.getByRole('button', { name: 'Read card' }).click();
const panel = page.locator('.panel');
const bad = async (words) => {
  await says(page, words);
  assert.equal(await tone(page), 'bad');
};

// No card: the attempt ends, and goes on by itself when one is put on.
await says(page, 'Ready. No card on the encoder.');
await read();
await says(page, 'Put a card on the encoder.');
await bad('No card was placed on the encoder.');
await page.getByText('It goes on by itself when a card is put on.').waitFor();
await encoder(0, 'place classic-1k:0badcafe');
await panel.getByText('There is no key on this card.').waitFor();

// Two cards.
await encoder(0, 'place classic-1k:0badbeef');
await bad('Several cards lie on the encoder.');
await encoder(0, 'remove');
await says(page, 'Ready. No card on the encoder.');

// A card of another system: its keys are not ours, and it stays as it is.
await encoder(0, 'place classic-1k:00c0ffee');
await says(page, 'A card lies on the encoder.');
const file = `${process.env.DESK_DIRECTORY}/foreign.mfd`;
await encoder(0, `dump ${file}`);
const memory = readFileSync(file);
memory[7 * 16] = 0x11;
writeFileSync(file, memory);
await encoder(0, 'remove');
await says(page, 'Ready. No card on the encoder.');
await encoder(0, 'place classic-1k:00c0ffee');
await encoder(0, `load ${file}`);
await page.locator('.card-number', { hasText: '00c0ffee' }).waitFor();
await page.getByRole('link', { name: 'New key' }).click();
await fill(page, { guest: 'Ada', rooms: ['Room 101'] });
await page.getByRole('button', { name: 'Make key' }).click();
await bad('This card belongs to another system and was left untouched.');
await page.getByText('It goes on by itself when a card is put on.').waitFor();
await encoder(0, 'remove');
await encoder(0, 'place classic-1k:0badf00d');
await says(page, 'The key for Ada is ready.');

// The card leaves in the middle of a write; the same one put back ends the job.
await encoder(0, 'remove');
await page.locator('.station[data-presence="absent"]').waitFor();
await says(page, 'The key for Ada is ready.');
await encoder(0, 'tear 3 partial');
await fill(page, { guest: 'Bea', rooms: ['Room 102'] });
await page.getByRole('button', { name: 'Make key' }).click();
await says(page, 'Put a card on the encoder.');
await encoder(0, 'place classic-1k:0badf00d');
await bad('The card was taken away too early.');
await page.locator('.station[data-presence="absent"]').waitFor();
await encoder(0, 'place classic-1k:0badf00d');
await says(page, 'The key for Bea is ready.');

// Another kind of card.
await encoder(0, 'remove');
await encoder(0, 'place unknown');
await bad('This kind of card is not known here.');

// Unplugged, and back.
await encoder(0, 'unplug 1500');
await bad('The encoder is not connected. Plug it in and try again.');
await page.getByRole('link', { name: 'Encoders' }).click();
await page.locator('.device', { hasText: 'Front Desk' }).getByText('Not connected').waitFor();
await page.locator('.device', { hasText: 'Front Desk' }).locator('.dot.online, .dot.trouble').waitFor();
await page.locator('.device', { hasText: 'Front Desk' }).getByText('Ready', { exact: false }).waitFor();

// All of it is in the history, in the clerk's words.
await page.getByRole('link', { name: 'History' }).click();
for (const words of ['No card was placed on the encoder.', 'This card belongs to another system', 'taken away too early', 'Done']) {
  await page.locator('.history .outcome', { hasText: words }).first().waitFor();
}
// In the clerk's language, too, although the hub's sentences are English.
await page.getByLabel('Language').selectOption('de');
await page.locator('.history .outcome', { hasText: 'Die Karte wurde zu früh weggenommen.' }).first().waitFor();

await finish(page);
