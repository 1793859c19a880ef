// Reading a card: whose it is, which rooms, until when, and whether the hub agrees.
import { Refused, call, daemon, isLocal } from './client.js';
import { confirmed, el } from './dom.js';
import { ReadFlow, WriteFlow, told } from './flow.js';
import { sentence, t } from './language.js';
import { stayActions } from './view_guests.js';
import { shown } from './times.js';

const OUT_OF_SYNC = 'acs_credential_on_encoder_out_of_sync';

/** The stay that a person has: the access grant with a card of this credential, as far as there is one. */
async function stayOf(credential) {
  if (!credential.user_identity_id) return null;
  const { access_grants: grants } = await call('/access_grants/list', { user_identity_id: credential.user_identity_id });
  return grants.find(({ ends_at: end }) => end === credential.ends_at) ?? grants.at(-1) ?? null;
}

export function readView({ station, property }) {
  const result = el('div', { class: 'result' });
  const read = async () => {
    if (station.flow) return;
    result.replaceChildren();
    const found = await station.run(new ReadFlow());
    if (!found) return;
    try {
      result.replaceChildren(await describe(found, station, property, result));
    } catch (error) {
      station.tell('bad', () => told(error));
    }
  };
  return el('section', { 'aria-labelledby': 'view-title' },
    el('h1', { id: 'view-title', tabindex: '-1' }, t('read.title')), el('p', { class: 'lead' }, t('read.lead')),
    el('button', { type: 'button', class: 'primary large', onclick: read }, t('read.go')), result);
}

function validity({ starts_at: start, ends_at: end }) {
  const now = Date.now();
  if (end && Date.parse(end) <= now) return ['expired', t('read.expired')];
  if (start && Date.parse(start) > now) return ['future', t('read.future')];
  return ['valid', t('read.valid')];
}

async function describe(found, station, property, result) {
  const { acs_credential_on_encoder: card, acs_credential_on_seam: credential, warnings, fault } = found;
  if (!card) {
    const words = fault ? sentence(fault) : t('read.blank');
    return el('div', { class: 'panel' }, el('p', { class: 'verdict' }, words));
  }
  const [state, word] = validity(card);
  const [stay, entrances] = credential ? await Promise.all([
    stayOf(credential),
    call('/acs/credentials/list_accessible_entrances', { acs_credential_id: credential.acs_credential_id }),
  ]) : [null, { acs_entrances: [] }];
  const outOfSync = warnings.some(({ warning_code: code }) => code === OUT_OF_SYNC);
  const guest = stay?.name ?? credential?.display_name ?? '–';
  const rooms = entrances.acs_entrances.map(({ display_name: name }) => name).join(', ');
  const row = (name, ...value) => el('div', {}, el('dt', {}, name), el('dd', {}, ...value));
  const check = !credential ? t('read.unknown') : outOfSync ? t('read.out_of_sync') : t('read.in_sync');
  const actions = el('div', { class: 'actions' });
  if (credential && outOfSync) {
    actions.append(el('button', { type: 'button', class: 'primary', onclick: () => {
      station.run(new WriteFlow(guest, [{ credential: credential.acs_credential_id, card: card.card_number }]));
    } }, t('write_again')));
  }
  if (isLocal()) {
    actions.append(el('button', { type: 'button', class: 'danger', onclick: () => erase(station, card.card_number, result) }, t('erase')));
  }
  return el('div', { class: 'panel' },
    el('p', { class: `verdict ${state}` }, el('span', { class: 'tag' }, word)),
    el('dl', {}, credential && row(t('read.guest'), guest), rooms && row(t('key.rooms'), rooms),
      row(t('key.until'), card.ends_at ? shown(property.zone, card.ends_at) : t('no_end')),
      row(t('read.card'), el('code', {}, card.card_number)),
      row(t('read.check'), el('span', { class: credential && !outOfSync ? 'good-text' : 'bad-text' }, check))),
    stay && stayActions({ station, property }, stay, guest), actions);
}

/** Takes the key off the card that lies there, after a question. */
async function erase(station, cardNumber, result) {
  const encoder = station.encoder;
  const sure = await confirmed({ title: t('erase.title', { number: cardNumber }), lead: t('erase.lead'), yes: t('erase'), no: t('cancel') });
  if (!sure || station.flow) return;
  station.tell('work', () => t('say.erasing'));
  try {
    await daemon('erase', { device: encoder.acs_encoder_id, card_number: cardNumber });
    station.tell('good', () => t('say.erased'));
    result.replaceChildren();
  } catch (error) {
    station.tell('bad', () => (error instanceof Refused && error.problem ? t('problem.failed') : told(error)));
  }
}
