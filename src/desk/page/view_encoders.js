// Encoders: how each is, its name, its link, and which one lies before me.
import { daemon, isLocal } from './client.js';
import { el, field } from './dom.js';
import { told } from './flow.js';
import { sentence, t } from './language.js';

export function encodersView({ station }) {
  const list = el('ul', { class: 'devices' });
  let devices = [];
  const ask = async (action, body, done) => {
    try {
      await daemon(action, body);
      if (done) station.tell('good', done);
    } catch (error) {
      station.tell('bad', () => told(error));
    }
    await load();
  };
  const load = async () => {
    if (isLocal()) {
      try {
        ({ encoders: devices } = await daemon('list'));
      } catch {
        devices = [];
      }
    }
    draw();
  };
  let drawn = '';
  const draw = () => {
    // Typing and focus outlive a change elsewhere.
    const now = JSON.stringify([station.list(), [...station.encoders.keys()], devices.map(({ device_id: device, acs_encoder_id: link }) => [device, link]), station.encoder?.acs_encoder_id]);
    if (now === drawn || list.contains(document.activeElement) && document.activeElement.matches('input')) return;
    drawn = now;
    const focused = document.activeElement?.dataset?.key;
    const linked = [...station.encoders.values()].filter((encoder) => encoder.device_id);
    const free = devices.filter(({ acs_encoder_id: link, device_id: device }) => !link && !linked.some((encoder) => encoder.device_id === device));
    list.replaceChildren(...linked.map((encoder) => linkedItem(encoder, station, devices, ask)), ...free.map((device) => freeItem(device, station, ask)));
    if (focused) list.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  };
  const view = el('section', { 'aria-labelledby': 'view-title' },
    el('h1', { id: 'view-title', tabindex: '-1' }, t('encoders.title')),
    !isLocal() && el('p', { class: 'hint' }, t('encoders.here_only')), list);
  station.addEventListener('change', draw);
  view.leave = () => station.removeEventListener('change', draw);
  load();
  return view;
}

function badge() {
  return el('strong', { class: 'simulated-badge' }, t('simulated'));
}

function facts({ model, firmware, port }) {
  return el('p', { class: 'facts' }, [[model, firmware].filter(Boolean).join(' '), port].filter(Boolean).join(' · '));
}

function linkedItem(encoder, station, devices, ask) {
  const { acs_encoder_id: key, display_name: name } = encoder;
  const isHere = devices.some(({ device_id: device }) => device === encoder.device_id);
  const inUse = station.encoder?.acs_encoder_id === key;
  const button = (action, words, onclick) => el('button', { type: 'button', onclick, 'data-key': `${action}-${key}`, 'aria-label': `${words}: ${name}` }, words);
  const actions = el('div', { class: 'actions' },
    inUse ? el('span', { class: 'tag' }, t('encoders.used')) : button('use', t('encoders.use'), () => station.choose(key)),
    isHere && button('wink', t('encoders.wink'), () => ask('wink', { device: key }, () => t('encoders.winked', { encoder: name }))),
    isHere && button('rename', t('encoders.rename'), () => {
      form.hidden = !form.hidden;
      if (!form.hidden) form.querySelector('input').focus();
    }),
    isHere && button('unlink', t('encoders.unlink'), () => ask('unlink', { device: key })));
  const input = el('input', { type: 'text', value: name, maxlength: '100', autocomplete: 'off' });
  const form = el('form', { hidden: true, class: 'rename', onsubmit: (event) => {
    event.preventDefault();
    form.hidden = true;
    input.blur();
    ask('rename', { device: key, name: input.value });
  } }, field(t('encoders.name'), input), el('button', { type: 'submit', class: 'primary' }, t('save')));
  const state = encoder.fault ? sentence(encoder.fault) : encoder.state === 'online' ? t(`encoders.presence.${encoder.presence}`) : t(`state.${encoder.state}`);
  return el('li', { class: `device ${encoder.state}` },
    el('h2', {}, el('span', { class: `dot ${encoder.fault ? 'trouble' : encoder.state}`, 'aria-hidden': 'true' }), name, encoder.simulated && badge()),
    el('p', {}, `${t(`state.${encoder.state}`)} · ${state}`), facts(encoder), actions, form);
}

/** A device without an encoder: it may take the place of one that has lost its own. */
function freeItem(device, station, ask) {
  const select = el('select', {}, [...station.encoders.values()].map((encoder) => el('option', { value: encoder.acs_encoder_id }, encoder.display_name)));
  return el('li', { class: 'device' },
    el('h2', {}, device.display_name, device.simulated && badge()),
    el('p', {}, t('encoders.free')), facts(device),
    field(t('encoders.link_to'), select),
    el('div', { class: 'actions' }, el('button', { type: 'button', class: 'primary', onclick: () => ask('link', { device: device.device_id, acs_encoder_id: select.value }) }, t('encoders.link'))));
}
