// Puts a card on the encoder again and again, and takes the time until the page shows it. Both ends on this PC's clock.
import { encoder, finish, open } from '../../tests/desk/rig.mjs';

const count = Number(process.argv[2]);
const page = await open();
// The page notes by itself when it has changed; asking it again and again would be measured too.
await page.evaluate(() => {
  const panel = document.querySelector('.station');
  globalThis.seen = {};
  new MutationObserver(() => {
    globalThis.seen[panel.dataset.presence] ??= performance.timeOrigin + performance.now();
  }).observe(panel, { attributes: true, attributeFilter: ['data-presence'] });
});
const shows = async (presence) => {
  const handle = await page.waitForFunction((name) => globalThis.seen[name], presence, { polling: 20 });
  const at = await handle.jsonValue();
  await page.evaluate(() => {
    globalThis.seen = {};
  });
  return at;
};
const taken = [];
for (let placement = 0; placement < count; placement += 1) {
  // Not in step with the daemon's looks.
  await new Promise((resolve) => setTimeout(resolve, 200 + Math.random() * 300));
  const start = performance.timeOrigin + performance.now();
  await encoder(0, 'place classic-1k:0badcafe');
  taken.push(await shows('present') - start);
  await encoder(0, 'remove');
  await shows('absent');
}
console.log(JSON.stringify(taken));
await finish(page);
