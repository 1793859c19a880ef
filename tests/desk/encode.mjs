// A stay from its first key to its end, by clicking: presence, two keys, reading, extending, another card, erasing, check-out.
import { assert, encoder, fill, finish, hub, open, says, tone } from './rig.mjs';

const page = await open();

// Presence is live, without a reload.
await says(page, 'Ready. No card on the encoder.');
await encoder(0, 'place classic-1k:0badcafe');
await says(page, 'A card lies on the encoder.');
await page.locator('.card-number', { hasText: '0badcafe' }).waitFor();
await encoder(0, 'remove');
await says(page, 'Ready. No card on the encoder.');

// Two keys for two rooms, a card after the other.
await fill(page, { guest: 'Ada Lovelace', rooms: ['Room 101', 'Room 103'], copies: 2 });
await page.getByRole('button', { name: 'Make key' }).click();
await says(page, 'Put card 1 of 2 on the encoder.');
await encoder(0, 'place classic-1k:0badcafe');
await says(page, 'Card 1 is ready. Take it off and put the next one on.');
assert.equal(await tone(page), 'good');
await encoder(0, 'remove');
await says(page, 'Put card 2 of 2 on the encoder.');
// The first card again: its key is not overwritten with the second one.
await encoder(0, 'place classic-1k:0badcafe');
await says(page, 'This card already has a key of Ada Lovelace.');
await encoder(0, 'remove');
await encoder(0, 'place classic-1k:0badbeef');
await says(page, 'All 2 keys for Ada Lovelace are ready.');
const issued = async () => (await hub('/acs/credentials/list')).acs_credentials.filter(({ is_issued: is }) => is);
assert.deepEqual((await issued()).map(({ card_number: card }) => card).sort(), ['0badbeef', '0badcafe']);
const [first] = await issued();
const doors = await hub('/acs/credentials/list_accessible_entrances', { acs_credential_id: first.acs_credential_id });
assert.deepEqual(doors.acs_entrances.map(({ display_name: name }) => name), ['Room 101', 'Room 103']);
// 11:00 in Zurich, whatever the browser's zone.
assert.match(first.ends_at, /T10:00:00/);
assert.equal(await page.getByLabel('Guest’s name').inputValue(), '', 'the form is ready for the next guest');

// Read: whose, rooms, till when, in sync.
await page.getByRole('link', { name: 'Read card' }).click();
await page.getByRole('button', { name: 'Read card' }).click();
const panel = page.locator('.panel');
await panel.getByText('Ada Lovelace').waitFor();
for (const words of ['Room 101, Room 103', '11:00', '0badbeef', 'Card and hub agree.', 'Valid now']) {
  assert.ok((await panel.textContent()).includes(words), `${words} in ${await panel.textContent()}`);
}

// Extend: the hub changes, both cards are written again, in whatever order they are put on.
await panel.getByRole('button', { name: 'Extend' }).click();
await panel.getByLabel('New end').fill('2027-02-01T09:30');
await panel.getByRole('button', { name: 'Extend and write cards' }).click();
await says(page, 'Take it off and put the next one on.');
await encoder(0, 'remove');
await encoder(0, 'place classic-1k:00c0ffee');
await says(page, 'This card is not one of Ada Lovelace’s.');
await encoder(0, 'remove');
await encoder(0, 'place classic-1k:0badcafe');
await says(page, 'All 2 keys for Ada Lovelace are ready.');
assert.ok((await issued()).every(({ ends_at: end, warnings }) => end === '2027-02-01T08:30:00.000Z' && warnings.length === 0), JSON.stringify(await issued()));

// Another card for the same stay, from the list of guests.
await page.getByRole('link', { name: 'Guests' }).click();
await page.locator('.stay-name', { hasText: 'Ada Lovelace' }).click();
await page.getByRole('button', { name: 'Another card' }).click();
await says(page, 'This card already has a key of Ada Lovelace. Put another one on.');
assert.equal((await issued()).length, 2);
await encoder(0, 'remove');
await encoder(0, 'place classic-1k:00c0ffee');
await says(page, 'The key for Ada Lovelace is ready.');
assert.equal((await issued()).length, 3);

// Erase that card: it asks first, and its credential alone goes.
await page.getByRole('link', { name: 'Read card' }).click();
await page.getByRole('button', { name: 'Read card' }).click();
await panel.getByText('00c0ffee').waitFor();
await panel.getByRole('button', { name: 'Erase card' }).click();
await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
assert.equal((await issued()).length, 3, 'a question that was not answered changes nothing');
await panel.getByRole('button', { name: 'Erase card' }).click();
await page.getByRole('dialog').getByRole('button', { name: 'Erase card' }).click();
await says(page, 'The card is erased and can be used again.');
assert.equal((await issued()).length, 2);
await page.getByRole('button', { name: 'Read card' }).click();
await panel.getByText('There is no key on this card.').waitFor();

// Check-out ends what is left.
await page.getByRole('link', { name: 'Guests' }).click();
await page.locator('.stay-name', { hasText: 'Ada Lovelace' }).click();
await page.getByRole('button', { name: 'Check out' }).click();
await page.getByRole('dialog').getByRole('button', { name: 'Check out' }).click();
await says(page, 'Ada Lovelace has checked out.');
assert.equal((await hub('/acs/credentials/list')).acs_credentials.length, 0);
await page.getByText('No guest has a key.').waitFor();

// Cancelled before a card came: nothing is left, and a card that comes then is not written.
await page.getByRole('link', { name: 'New key' }).click();
await encoder(0, 'remove');
await page.locator('.station[data-presence="absent"]').waitFor();
await fill(page, { guest: 'Nobody', rooms: ['Room 102'] });
await page.getByRole('button', { name: 'Make key' }).click();
await says(page, 'Put a card on the encoder.');
await page.getByRole('button', { name: 'Cancel' }).click();
await says(page, 'Ready. No card on the encoder.');
await encoder(0, 'place classic-1k:00c0ffee');
await says(page, 'A card lies on the encoder.');
assert.equal((await hub('/access_grants/list')).access_grants.length, 0);
assert.equal((await hub('/acs/credentials/list')).acs_credentials.length, 0);

await finish(page);
