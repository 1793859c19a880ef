// The last attempts, wherever they were asked for.
import { call } from './client.js';
import { el } from './dom.js';
import { told } from './flow.js';
import { sentence, t } from './language.js';
import { shown } from './times.js';

export function historyView({ station, property }) {
  const list = el('ol', { class: 'history' });
  const load = async () => {
    try {
      const { attempts } = await call('/encoderd/v1/attempts', { limit: 40 });
      list.replaceChildren(...attempts.map((attempt) => row(attempt, station, property)));
      if (attempts.length === 0) list.append(el('li', { class: 'none' }, t('history.none')));
    } catch (error) {
      station.tell('bad', () => told(error));
    }
  };
  load();
  return el('section', { 'aria-labelledby': 'view-title' },
    el('h1', { id: 'view-title', tabindex: '-1' }, t('history.title')),
    el('button', { type: 'button', onclick: load }, t('history.refresh')), list);
}

function row(attempt, station, property) {
  const encoder = station.encoders.get(attempt.acs_encoder_id)?.display_name;
  return el('li', { class: attempt.status },
    el('span', { class: 'when' }, shown(property.zone, attempt.created_at)),
    el('span', { class: 'what' }, [t(`history.${attempt.action_type}`), encoder].filter(Boolean).join(' · ')),
    el('span', { class: `outcome ${attempt.status}` }, attempt.error ? sentence(attempt.error) : t(`history.${attempt.status}`)));
}
