// Guests with keys: another card, a longer stay, check-out.
import { all, call } from './client.js';
import { confirmed, el, field, id } from './dom.js';
import { WriteFlow, told } from './flow.js';
import { t } from './language.js';
import { departure, moment, shown, typed } from './times.js';
import { jobsOf } from './view_key.js';

const SHOWN = 40;

const name = (stay) => stay.name || stay.display_name;

/** What can be done with a stay; `done` is called when it has changed. */
export function stayActions({ station, property }, stay, guest, done = () => {}) {
  const failed = (error) => station.tell('bad', () => told(error));
  const extension = el('div', { class: 'extension', hidden: true });
  const run = async (work) => {
    if (station.flow) return;
    try {
      await work();
    } catch (error) {
      failed(error);
    }
    done();
  };
  const another = () => run(async () => {
    const before = new Set((await jobsOf(stay.user_identity_id)).map(({ credential }) => credential));
    await call('/access_grants/request_access_methods', { access_grant_id: stay.access_grant_id, requested_access_methods: [{ mode: 'card' }] });
    const jobs = (await jobsOf(stay.user_identity_id)).filter(({ credential }) => !before.has(credential));
    await station.run(new WriteFlow(guest, jobs));
  });
  const checkOut = () => run(async () => {
    const sure = await confirmed({ title: t('checkout.title', { guest }), lead: t('checkout.lead'), yes: t('checkout'), no: t('cancel') });
    if (!sure) return;
    await call('/access_grants/delete', { access_grant_id: stay.access_grant_id });
    station.tell('good', () => t('checkout.done', { guest }));
  });
  const extend = () => {
    const end = stay.ends_at ? Date.parse(stay.ends_at) : Date.now();
    const until = el('input', { type: 'datetime-local', id: id('until'), value: departure(property.zone, Math.max(end, Date.now()), 1), min: typed(property.zone, Date.now()) });
    const whole = field(t('extend.until'), until);
    const form = el('form', { novalidate: true, 'aria-label': t('extend.title', { guest }) }, whole,
      el('div', { class: 'actions' }, el('button', { type: 'submit', class: 'primary' }, t('extend.go')),
        el('button', { type: 'button', onclick: () => {
          extension.hidden = true;
          buttons.querySelector('button').focus();
        } }, t('cancel'))));
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      const to = moment(property.zone, until.value);
      if (!to || to.getTime() <= Date.now()) {
        whole.wrong(t('key.need_until'));
        until.focus();
        return;
      }
      extension.hidden = true;
      run(async () => {
        await call('/access_grants/update', { access_grant_id: stay.access_grant_id, ends_at: to.toISOString() });
        const jobs = await jobsOf(stay.user_identity_id, (one) => one.is_issued);
        if (jobs.length > 0) await station.run(new WriteFlow(guest, jobs));
      });
    });
    extension.replaceChildren(form);
    extension.hidden = false;
    until.focus();
  };
  const buttons = el('div', { class: 'actions' },
    el('button', { type: 'button', onclick: extend }, t('extend')),
    el('button', { type: 'button', onclick: another }, t('joiner')),
    el('button', { type: 'button', class: 'danger', onclick: checkOut }, t('checkout')));
  return el('div', { class: 'stay-actions' }, buttons, extension);
}

export function guestsView(context) {
  const { station, property } = context;
  const list = el('ul', { class: 'stays' });
  const note = el('p', { class: 'hint', role: 'status' });
  let stays = [];
  const search = el('input', { type: 'search', autocomplete: 'off', oninput: () => draw() });
  const room = el('select', { onchange: () => load() }, el('option', { value: '' }, t('guests.all_rooms')),
    property.entrances.map((entrance) => el('option', { value: entrance.acs_entrance_id }, entrance.display_name)));
  const load = async () => {
    try {
      const body = room.value ? { acs_entrance_id: room.value } : {};
      const { found, more } = await all('/access_grants/list', body, 'access_grants');
      stays = found.reverse();
      stays.more = more;
      draw();
    } catch (error) {
      station.tell('bad', () => told(error));
    }
  };
  const draw = () => {
    const words = search.value.trim().toLowerCase();
    const matching = stays.filter((stay) => name(stay).toLowerCase().includes(words));
    list.replaceChildren(...matching.slice(0, SHOWN).map((stay) => item(context, stay, load)));
    note.textContent = matching.length === 0 ? t('guests.none') : matching.length > SHOWN || stays.more ? t('guests.more') : '';
  };
  load();
  return el('section', { 'aria-labelledby': 'view-title' },
    el('h1', { id: 'view-title', tabindex: '-1' }, t('guests.title')),
    el('div', { class: 'pair' }, field(t('guests.find'), search), field(t('guests.room'), room)), note, list);
}

/** One stay; its cards are asked for when it is opened. */
function item(context, stay, reload) {
  const { property } = context;
  const details = el('div', { class: 'stay-details' });
  const ended = stay.ends_at && Date.parse(stay.ends_at) <= Date.now();
  const until = stay.ends_at ? shown(property.zone, stay.ends_at) : t('no_end');
  const open = el('details', {}, el('summary', {},
    el('span', { class: 'stay-name' }, name(stay)),
    el('span', { class: 'stay-until' }, ended ? `${t('guests.ended')} · ` : '', until)), details);
  open.addEventListener('toggle', async () => {
    if (!open.open || details.childElementCount > 0) return;
    try {
      details.replaceChildren(...await cards(context, stay, reload));
    } catch (error) {
      context.station.tell('bad', () => told(error));
    }
  });
  return el('li', {}, open);
}

async function cards(context, stay, reload) {
  const { found } = await all('/acs/credentials/list', { user_identity_id: stay.user_identity_id }, 'acs_credentials');
  const first = found[0];
  const rooms = first ? (await call('/acs/credentials/list_accessible_entrances', { acs_credential_id: first.acs_credential_id })).acs_entrances : [];
  const state = (one) => {
    if (!one.is_issued) return t('card.waiting');
    const old = one.warnings.some(({ warning_code: code }) => code === 'needs_to_be_reissued');
    return t(old ? 'card.old' : 'card.on', { number: one.card_number });
  };
  const needsWriting = (one) => !one.is_issued || one.warnings.length > 0;
  return [
    el('p', { class: 'stay-rooms' }, rooms.map(({ display_name: room }) => room).join(', ')),
    el('ul', { class: 'cards', 'aria-label': t('guests.cards') }, found.map((one) => el('li', {}, el('span', {}, state(one)),
      needsWriting(one) && el('button', { type: 'button', onclick: async () => {
        if (context.station.flow) return;
        const flow = new WriteFlow(name(stay), [{ credential: one.acs_credential_id, card: one.is_issued ? one.card_number : null }]);
        // It was there before: whoever cancels has changed nothing.
        flow.abandon = null;
        await context.station.run(flow);
        reload();
      } }, t('card.write'))))),
    stayActions(context, stay, name(stay), reload),
  ];
}
