// nfc-pcsc as a program of its own. `node peer.cjs watch|job READERS`: says `ready` when so many readers are there, then
// `card UID` or, when it has done the job on the card, `done UID`, and `gone` when a card was taken away.
//
// The job: read sector 1 with the key of a new card, write its three blocks, read them back. As two steps that know
// nothing of each other: each opens the sector for itself, as the library's own example does.
'use strict';

const { NFC, KEY_TYPE_A } = require('nfc-pcsc');

const [what, wanted] = [process.argv[2], Number(process.argv[3])];
const say = (line) => process.stdout.write(line + '\n');
const KEY = 'FFFFFFFFFFFF';

async function readSector(reader) {
  await reader.authenticate(4, KEY_TYPE_A, KEY);
  return reader.read(4, 48, 16);
}

async function writeAndVerify(reader, data) {
  await reader.authenticate(4, KEY_TYPE_A, KEY);
  await reader.write(4, data, 16);
  const found = await reader.read(4, 48, 16);
  if (!found.equals(data)) throw new Error('read back: ' + found.toString('hex'));
}

let readers = 0;
const nfc = new NFC();
nfc.on('reader', (reader) => {
  reader.on('card', async (card) => {
    if (what !== 'job') return say('card ' + card.uid);
    try {
      await readSector(reader);
      await writeAndVerify(reader, Buffer.alloc(48, Buffer.from(card.uid, 'hex')));
      say('done ' + card.uid);
    } catch (error) {
      say('failed ' + error);
    }
  });
  reader.on('card.off', () => say('gone'));
  reader.on('error', (error) => say('error ' + error.message));
  reader.on('end', () => say('end'));
  readers += 1;
  if (readers === wanted) say('ready');
});
nfc.on('error', (error) => say('error ' + error.message));
