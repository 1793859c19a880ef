// Making a key: a stay is an access grant, with a credential for each card.
import { all, call } from './client.js';
import { el, field, id, say } from './dom.js';
import { WriteFlow, told } from './flow.js';
import { t } from './language.js';
import { departure, moment, typed } from './times.js';

const COPIES_MAX = 10;
const ROOMS_SHOWN = 60;

/** The credentials of a person, as jobs for the encoder. */
export async function jobsOf(userIdentityId, wanted = () => true) {
  const { found } = await all('/acs/credentials/list', { user_identity_id: userIdentityId }, 'acs_credentials');
  return found.filter(wanted).map((one) => ({ credential: one.acs_credential_id, card: one.is_issued ? one.card_number : null }));
}

/** Chooses rooms: what was typed filters, Enter takes the first. */
function roomPicker(entrances, chosen, changed) {
  const search = el('input', { type: 'search', id: id('room'), autocomplete: 'off', spellcheck: 'false' });
  const list = el('ul', { class: 'rooms' });
  const chips = el('ul', { class: 'chips' });
  const hint = el('p', { class: 'hint', id: id('hint') }, t('key.room_hint'));
  const problem = el('p', { class: 'problem', id: id('problem') });
  search.setAttribute('aria-describedby', `${hint.id} ${problem.id}`);
  const matching = () => {
    const words = search.value.trim().toLowerCase();
    return entrances.filter(({ display_name: name }) => name.toLowerCase().includes(words));
  };
  const toggle = (entrance, on) => {
    if (on) chosen.set(entrance.acs_entrance_id, entrance);
    else chosen.delete(entrance.acs_entrance_id);
    wrong(null);
    draw();
    changed();
  };
  const wrong = (text) => {
    say(problem, text ?? '');
    if (text) search.setAttribute('aria-invalid', 'true');
    else search.removeAttribute('aria-invalid');
  };
  const draw = () => {
    const rooms = matching();
    list.replaceChildren(...rooms.slice(0, ROOMS_SHOWN).map((entrance) => {
      const box = el('input', { type: 'checkbox', checked: chosen.has(entrance.acs_entrance_id), onchange: (event) => {
        const name = entrance.acs_entrance_id;
        toggle(entrance, event.target.checked);
        list.querySelector(`[value="${name}"]`)?.focus();
      }, value: entrance.acs_entrance_id });
      return el('li', {}, el('label', {}, box, el('span', {}, entrance.display_name)));
    }));
    if (rooms.length === 0) list.append(el('li', { class: 'none' }, t('key.no_room')));
    chips.replaceChildren(...[...chosen.values()].map((entrance) => el('li', {}, el('button', {
      type: 'button', class: 'chip', 'aria-label': t('key.remove_room', { room: entrance.display_name }),
      onclick: () => {
        toggle(entrance, false);
        search.focus();
      },
    }, entrance.display_name, el('span', { 'aria-hidden': 'true', class: 'cross' }, '×')))));
  };
  search.addEventListener('input', draw);
  search.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter') return;
    event.preventDefault();
    const [first] = matching();
    if (!first || search.value.trim() === '') return;
    search.value = '';
    toggle(first, true);
  });
  draw();
  const whole = el('fieldset', { class: 'field room-picker' }, el('legend', {}, t('key.rooms')), chips,
    el('label', { for: search.id, class: 'quiet' }, t('key.find_room')), hint, search, problem, list);
  whole.wrong = wrong;
  whole.focusSearch = () => search.focus();
  return whole;
}

export function keyView({ station, property }) {
  const { zone, entrances } = property;
  const chosen = new Map();
  const now = Date.now();
  const guest = field(t('key.guest'), el('input', { type: 'text', name: 'guest', autocomplete: 'off', maxlength: '200' }));
  const rooms = roomPicker(entrances, chosen, () => {});
  const fromStart = typed(zone, now);
  const from = field(t('key.from'), el('input', { type: 'datetime-local', name: 'from', value: fromStart }));
  const until = field(t('key.until'), el('input', { type: 'datetime-local', name: 'until', value: departure(zone, now, 1) }));
  const copies = field(t('key.copies'), el('input', { type: 'number', name: 'copies', min: '1', max: String(COPIES_MAX), value: '1', inputmode: 'numeric' }));
  const input = (whole) => whole.querySelector('input');
  const step = (by) => () => {
    input(copies).value = String(Math.min(COPIES_MAX, Math.max(1, (Number(input(copies).value) || 1) + by)));
  };
  input(copies).before(el('button', { type: 'button', class: 'step', 'aria-label': t('key.fewer'), onclick: step(-1) }, '−'));
  input(copies).after(el('button', { type: 'button', class: 'step', 'aria-label': t('key.more'), onclick: step(1) }, '+'));
  copies.classList.add('stepper');
  const nights = el('div', { class: 'nights', role: 'group', 'aria-label': t('key.nights') },
    el('span', { 'aria-hidden': 'true' }, t('key.nights')), [1, 2, 3, 4, 5, 7].map((count) => el('button', {
      type: 'button', class: 'step', onclick: () => {
        const start = moment(zone, input(from).value) ?? new Date();
        input(until).value = departure(zone, start.getTime(), count);
        until.wrong(null);
      },
    }, String(count))));
  const button = el('button', { type: 'submit', class: 'primary large' }, t('key.make'));
  const form = el('form', { novalidate: true, class: 'key-form' },
    guest, rooms,
    el('div', { class: 'pair' }, from, until), nights,
    el('p', { class: 'hint' }, t('key.zone', { zone })), copies, button);

  const wishes = () => {
    const name = input(guest).value.trim();
    const [start, end] = [moment(zone, input(from).value), moment(zone, input(until).value)];
    const count = Number(input(copies).value);
    guest.wrong(name ? null : t('key.need_guest'));
    rooms.wrong(chosen.size > 0 ? null : t('key.need_room'));
    const late = !start || !end || end <= start || end.getTime() <= Date.now();
    until.wrong(late ? t('key.need_until') : null);
    const odd = !Number.isInteger(count) || count < 1 || count > COPIES_MAX;
    copies.wrong(odd ? t('key.need_copies') : null);
    if (!name) input(guest).focus();
    else if (chosen.size === 0) rooms.focusSearch();
    else if (late) input(until).focus();
    else if (odd) input(copies).focus();
    else return { name, start, end, count };
    return null;
  };

  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const wish = station.flow ? null : wishes();
    if (!wish) return;
    button.disabled = true;
    try {
      const grant = await create(wish, [...chosen.keys()], input(from).value === fromStart);
      const jobs = await jobsOf(grant.user_identity_id);
      const flow = new WriteFlow(wish.name, jobs);
      const made = await station.run(flow);
      if (made) {
        input(guest).value = '';
        chosen.clear();
        input(copies).value = '1';
        rooms.querySelector('input').dispatchEvent(new Event('input'));
      } else if (flow.done.length === 0) {
        await call('/access_grants/delete', { access_grant_id: grant.access_grant_id });
      }
    } catch (error) {
      station.tell('bad', () => told(error));
    } finally {
      button.disabled = false;
    }
  });
  return el('section', { 'aria-labelledby': 'view-title' }, el('h1', { id: 'view-title', tabindex: '-1' }, t('key.title')), form);
}

async function create({ name, start, end, count }, entrances, fromNow) {
  const { access_grant: grant } = await call('/access_grants/create', {
    user_identity: { full_name: name },
    name,
    acs_entrance_ids: entrances,
    requested_access_methods: Array.from({ length: count }, () => ({ mode: 'card' })),
    ...(fromNow ? {} : { starts_at: start.toISOString() }),
    ends_at: end.toISOString(),
  });
  return grant;
}
