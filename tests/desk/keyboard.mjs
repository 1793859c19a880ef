// A key without a mouse: Tab, arrows, Space and Enter, with the focus in sight all the time.
import { assert, encoder, finish, hub, open, says } from './rig.mjs';

const page = await open();
const press = (name) => page.keyboard.press(name);
const focused = () => page.evaluate(() => {
  const { activeElement: one } = document;
  return { tag: one.tagName, text: one.textContent.trim(), name: one.name ?? '', type: one.type ?? '', label: one.labels?.[0]?.textContent ?? one.getAttribute('aria-label') ?? '' };
});
/** Tabs until something has the focus; each stop on the way must show that it has. */
const tabTo = async (is, what) => {
  for (let stop = 0; stop < 60; stop += 1) {
    await press('Tab');
    const seen = await page.evaluate(() => {
      const one = document.activeElement;
      const style = getComputedStyle(one);
      const box = one.getBoundingClientRect();
      return one === document.body || (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2 && box.width > 0);
    });
    assert.ok(seen, `the focus is not seen on ${JSON.stringify(await focused())}`);
    if (is(await focused())) return;
  }
  assert.fail(`Tab does not come to ${what}`);
};

await says(page, 'A card lies on the encoder.');
await tabTo(({ text }) => text === 'Skip to content', 'the way past the navigation');
await press('Enter');
assert.equal((await focused()).tag, 'MAIN');
await tabTo(({ label }) => label === 'Guest’s name', 'the name');
await page.keyboard.type('Grace Hopper');
await tabTo(({ label }) => label === 'Find a room', 'the rooms');
await page.keyboard.type('104');
await press('Enter');
await page.getByRole('button', { name: 'Remove Room 104' }).waitFor();
await tabTo(({ type, label }) => type === 'checkbox' && label === 'Room 102', 'a room to tick');
await press('Space');
assert.equal((await focused()).label, 'Room 102', 'ticking keeps the focus');
await tabTo(({ text }) => text === '2', 'two nights');
await press('Enter');
await tabTo(({ text }) => text === 'Make key', 'the button');
await press('Enter');
await says(page, 'The key for Grace Hopper is ready.');
const { acs_credentials: [made] } = await hub('/acs/credentials/list');
assert.equal(made.card_number, 'deadbeef');
const nights = Math.round((Date.parse(made.ends_at) - Date.parse(made.starts_at)) / 86_400_000 * 2) / 2;
assert.ok(nights >= 1 && nights <= 2.5, `${nights}`);

// What is missing is said, and the focus goes there.
await page.reload();
await page.locator('.station').waitFor();
await tabTo(({ text }) => text === 'Make key', 'the button');
await press('Enter');
assert.equal((await focused()).label, 'Guest’s name');
await page.getByText('Enter the guest’s name.').waitFor();
await page.getByText('Choose at least one room.').waitFor();

// Another view, its heading has the focus; a question is answered with Escape.
await page.reload();
await page.locator('.station').waitFor();
await tabTo(({ text }) => text === 'Read card', 'the next view');
await press('Enter');
await page.getByRole('heading', { name: 'Read a card' }).waitFor();
assert.equal((await focused()).text, 'Read a card');
await tabTo(({ tag, text }) => tag === 'BUTTON' && text === 'Read card', 'the button');
await press('Enter');
await page.locator('.panel').getByText('Grace Hopper').waitFor();
await tabTo(({ text }) => text === 'Erase card', 'erase');
await press('Enter');
await page.getByRole('dialog').waitFor();
assert.equal((await focused()).text, 'Cancel', 'the harmless answer has the focus');
await press('Escape');
await page.getByRole('dialog').waitFor({ state: 'detached' });
assert.equal((await hub('/acs/credentials/list')).acs_credentials.length, 1);
await encoder(0, 'remove');
await finish(page);
