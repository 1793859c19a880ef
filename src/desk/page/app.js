// The page: who may use it, the encoder's sentence, and the views.
import * as client from './client.js';
import { el, field, say } from './dom.js';
import { Station } from './flow.js';
import { LANGUAGES, choose, language, t } from './language.js';
import { encodersView } from './view_encoders.js';
import { guestsView } from './view_guests.js';
import { historyView } from './view_history.js';
import { keyView } from './view_key.js';
import { readView } from './view_read.js';

const VIEWS = { key: keyView, read: readView, guests: guestsView, history: historyView, encoders: encodersView };
const SIGNS = { calm: '○', ready: '●', wait: '⬇', work: '…', good: '✓', bad: '!' };

const root = document.getElementById('app');
const station = new Station();
let property = null;
let hasPin = false;
let leave = () => {};

async function start() {
  const begun = await client.begin().catch(() => ({ problem: 'failed' }));
  hasPin = begun.has_pin ?? false;
  if (begun.problem) return gate(begun);
  if (begun.mode === 'key' && !begun.ready) return gate({ problem: 'key_needed' });
  try {
    await loadProperty();
  } catch (error) {
    if (begun.mode === 'key') return gate({ problem: error.status === 401 ? 'key_wrong' : 'failed', asksKey: true });
    return gate({ problem: 'failed' });
  }
  frame();
  watch();
}

async function loadProperty() {
  const [{ acs_systems: systems }, { found }] = await Promise.all([
    client.call('/acs/systems/list'), client.all('/acs/entrances/list', {}, 'acs_entrances'),
  ]);
  const [system] = systems;
  property = { name: system?.name ?? 'encoderd', zone: system?.location?.time_zone ?? 'UTC', entrances: found };
}

let watching = false;

function watch() {
  if (watching) return;
  watching = true;
  client.call('/encoderd/v1/encoders').then(({ encoders }) => {
    for (const encoder of encoders) station.see(encoder);
    station.loaded = true;
    station.changed();
  }).catch(() => {});
  client.watch((kind, encoder) => {
    if (kind === 'encoder') station.see(encoder);
  }, (reachable) => {
    station.reachable = reachable;
    station.changed();
  });
}

function languagePicker() {
  const select = el('select', { id: 'language', 'aria-label': t('language'), onchange: () => {
    choose(select.value);
    document.documentElement.lang = language();
    start();
  } }, LANGUAGES.map(([code, name]) => el('option', { value: code, lang: code }, name)));
  select.value = language();
  return select;
}

/** What stands before the page: a PIN, or an API key. */
function gate({ problem, wait = 0, asksKey = false }) {
  leave();
  document.documentElement.lang = language();
  const forKey = asksKey || problem === 'key_needed';
  const kind = forKey ? 'api_key' : 'pin';
  const asks = forKey || ['pin_needed', 'pin_wrong', 'too_many_tries'].includes(problem);
  const words = problem === 'key_wrong' ? t('problem.key_wrong') : ['pin_needed', 'key_needed'].includes(problem) ? ''
    : t(['pin_wrong', 'too_many_tries', 'not_allowed'].includes(problem) ? `problem.${problem}` : 'problem.failed', { s: wait });
  const input = el('input', { type: 'password', autocomplete: 'off', ...(kind === 'pin' ? { inputmode: 'numeric', maxlength: '12' } : {}) });
  const form = el('form', { novalidate: true, onsubmit: async (event) => {
    event.preventDefault();
    if (kind === 'api_key') {
      client.keepKey(input.value.trim());
      return start();
    }
    const begun = await client.begin(input.value);
    if (begun.problem) gate(begun);
    else start();
  } }, field(t(`${kind}.title`), input), el('button', { type: 'submit', class: 'primary large' }, t(`${kind}.go`)));
  root.replaceChildren(el('div', { class: 'top' }, el('div', { class: 'brand' }, 'encoderd'), languagePicker()),
    el('main', { class: 'gate' }, el('h1', {}, asks ? t(`${kind}.title`) : t('title')),
      asks && el('p', { class: 'lead' }, t(`${kind}.lead`)), el('p', { class: 'problem', role: 'alert' }, words),
      asks ? form : el('button', { type: 'button', onclick: start }, t('again'))));
  (asks ? input : root.querySelector('button')).focus();
}

function frame() {
  document.documentElement.lang = language();
  document.title = `${t('title')} · ${property.name}`;
  const nav = el('nav', { 'aria-label': t('views') }, el('ul', {}, Object.keys(VIEWS).map((name) => el('li', {},
    el('a', { href: `#${name}`, 'data-view': name }, t(`view.${name}`))))));
  const view = el('div', { class: 'view', id: 'view' });
  const main = el('main', { id: 'main', tabindex: '-1' }, stationPanel(), view);
  root.replaceChildren(
    el('a', { class: 'skip', href: '#main', onclick: (event) => {
      event.preventDefault();
      main.focus();
    } }, t('skip')),
    el('header', { class: 'top' },
      el('div', { class: 'brand' }, el('img', { src: '/desk/icon.svg', alt: '', width: '28', height: '28' }), el('span', {}, property.name)),
      el('div', { class: 'tools' }, languagePicker(), hasPin && el('button', { type: 'button', onclick: async () => {
        await client.end().catch(() => {});
        start();
      } }, t('lock')))),
    nav, main);
  show(false);
}

/** Shows the view that the address names. */
function show(focus = true) {
  const name = location.hash.slice(1) in VIEWS ? location.hash.slice(1) : 'key';
  const place = document.getElementById('view');
  if (!place) return;
  leave();
  const view = VIEWS[name]({ station, property });
  leave = () => view.leave?.();
  place.replaceChildren(view);
  for (const link of document.querySelectorAll('nav a')) {
    if (link.dataset.view === name) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  if (focus) view.querySelector('h1').focus();
}

/** The encoder, the card on it, and the one sentence. */
function stationPanel() {
  const sign = el('span', { class: 'sign', 'aria-hidden': 'true' });
  const text = el('span', { class: 'text' });
  const more = el('span', { class: 'more' });
  const mark = el('div', { class: 'simulated', hidden: true }, el('strong', {}, t('simulated')), el('span', {}, t('simulated.long')));
  const bar = el('progress', { hidden: true, 'aria-label': t('view.key') });
  const again = el('button', { type: 'button', hidden: true, onclick: () => station.flow?.retry() }, t('again'));
  const cancel = el('button', { type: 'button', hidden: true, onclick: () => station.flow?.cancel() }, t('cancel'));
  const select = el('select', { id: 'encoder', onchange: () => station.choose(select.value) });
  const label = el('label', { for: 'encoder' }, t('encoder'));
  const only = el('span', { class: 'only' });
  const card = el('code', { class: 'card-number' });
  const panel = el('section', { class: 'station', 'aria-label': t('station') }, mark,
    el('div', { class: 'which' }, label, select, only, card),
    el('p', { class: 'sentence', role: 'status', 'aria-live': 'polite', 'aria-atomic': 'true' }, sign, el('span', { class: 'words' }, text, more)),
    bar, el('div', { class: 'actions' }, again, cancel));
  const draw = () => {
    const says = station.says();
    const encoder = station.encoder;
    panel.dataset.tone = says.tone;
    panel.dataset.presence = encoder?.presence ?? 'absent';
    say(sign, SIGNS[says.tone]);
    say(text, says.text);
    say(more, says.more ?? '');
    mark.hidden = !encoder?.simulated;
    again.hidden = !says.canRetry;
    cancel.hidden = !station.flow || !says.canCancel;
    const progress = station.flow?.progress;
    bar.hidden = !progress;
    if (progress) [bar.max, bar.value] = [progress.m, progress.n];
    const all = station.list();
    const options = JSON.stringify(all.map(({ acs_encoder_id: key, display_name: name, simulated }) => [key, name, simulated]));
    if (select.dataset.options !== options) {
      select.dataset.options = options;
      select.replaceChildren(...all.map((one) => el('option', { value: one.acs_encoder_id }, one.simulated ? `${one.display_name} · ${t('simulated')}` : one.display_name)));
    }
    if (encoder) select.value = encoder.acs_encoder_id;
    select.disabled = Boolean(station.flow);
    select.hidden = label.hidden = all.length < 2;
    say(only, all.length === 1 ? all[0].display_name : '');
    say(card, encoder?.card_number ?? '');
  };
  station.addEventListener('change', draw);
  const before = leaveStation;
  before();
  leaveStation = () => station.removeEventListener('change', draw);
  draw();
  return panel;
}

let leaveStation = () => {};

addEventListener('hashchange', () => show());
addEventListener('encoderd:locked', () => start());
start();
