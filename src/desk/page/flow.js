// What is being done at the encoder, and the one sentence that says it.
//
// A flow writes jobs to cards, or reads one. It waits for cards without hurry: an attempt that found none says so, and
// begins again by itself when one is put on. Nothing is written to a card that has not just been put on for it.
import { Refused, call, settled } from './client.js';
import { sentence, t } from './language.js';

/** How long a flow stays armed for the next card. A clerk who was called away presses "Try again". */
const ARMED_MS = 180_000;

/** Tones of the sentence. */
export const CALM = 'calm', READY = 'ready', WAIT = 'wait', WORK = 'work', GOOD = 'good', BAD = 'bad';

export class Station extends EventTarget {
  encoders = new Map();
  chosen = localStorage.getItem('encoderd.encoder');
  reachable = null;
  loaded = false;
  flow = null;
  /** What was said last, until something else happens. */
  last = null;

  get encoder() {
    const all = this.list();
    return this.encoders.get(this.chosen) ?? all.find(({ state }) => state === 'online') ?? all[0] ?? null;
  }

  list() {
    return [...this.encoders.values()].filter(({ device_id: device }) => device)
      .sort((a, b) => a.display_name.localeCompare(b.display_name));
  }

  choose(encoderId) {
    if (this.flow) return;
    this.chosen = encoderId;
    localStorage.setItem('encoderd.encoder', encoderId);
    this.last = null;
    this.changed();
  }

  /** An encoder as it is now. */
  see(encoder) {
    const before = this.encoder;
    this.encoders.set(encoder.acs_encoder_id, encoder);
    const now = this.encoder;
    // A new card or a lifted one: what was said of the last one is over.
    if (!this.flow && this.last && before && now
      && (before.presence !== now.presence || before.card_number !== now.card_number || before.state !== now.state)) {
      if (this.last.tone !== GOOD || now.presence === 'present' || now.state !== 'online') this.last = null;
    }
    this.changed();
  }

  changed() {
    this.dispatchEvent(new Event('change'));
  }

  /** The sentence: `{tone, text, more}`. */
  says() {
    if (this.reachable === false) return { tone: BAD, text: t('say.no_answer') };
    if (this.flow) return this.flow.says();
    if (this.last) return { ...this.last, text: this.last.text() };
    const encoder = this.encoder;
    if (!encoder) return this.loaded ? { tone: BAD, text: t('say.no_encoder') } : { tone: CALM, text: t('say.loading') };
    if (encoder.fault) return { tone: BAD, text: sentence(encoder.fault) };
    if (encoder.state !== 'online') return { tone: BAD, text: t('fault.encoder_offline') };
    if (encoder.presence === 'present') return { tone: READY, text: t('say.card') };
    return { tone: CALM, text: t('say.ready') };
  }

  /** Runs a flow to its end; returns what it did, null when it was cancelled. */
  async run(flow) {
    if (this.flow) return null;
    this.last = null;
    this.flow = flow;
    this.changed();
    try {
      const done = await flow.run(this);
      if (done) this.last = { tone: GOOD, text: () => flow.doneText() };
      return done;
    } catch (error) {
      this.last = { tone: BAD, text: () => told(error) };
      return null;
    } finally {
      this.flow = null;
      this.changed();
    }
  }

  /** Says how something ended that was no flow. */
  tell(tone, text) {
    this.last = { tone, text };
    this.changed();
  }
}

/** What is said of a failed request. */
export function told(error) {
  return error instanceof Refused ? sentence(error) : t('say.no_answer');
}

class Flow {
  cancelled = false;
  again = false;
  phase = { tone: WAIT, text: () => t('say.loading'), canRetry: false };

  says() {
    return { tone: this.phase.tone, text: this.phase.text(), more: this.phase.more?.(), canRetry: this.phase.canRetry, canCancel: this.phase.tone !== WORK };
  }

  set(station, phase) {
    this.phase = { canRetry: false, ...phase };
    station.changed();
  }

  cancel() {
    this.cancelled = true;
    this.abandon?.();
    this.wake?.();
  }

  retry() {
    this.again = true;
    this.wake?.();
  }

  /** Waits until `ready(encoder)` or somebody presses a button. */
  async until(station, ready) {
    const deadline = Date.now() + ARMED_MS;
    const encoder = () => station.encoders.get(this.encoderId);
    let armed = true;
    while (!this.cancelled && !this.again && !(armed && ready(encoder()))) {
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, 1000);
        this.wake = () => {
          clearTimeout(timer);
          station.removeEventListener('change', this.wake);
          resolve();
        };
        station.addEventListener('change', this.wake);
      });
      if (armed && Date.now() > deadline) {
        armed = false;
        this.set(station, { ...this.phase, more: () => t('say.paused'), canRetry: true });
      }
    }
    this.again = false;
  }

  /** Waits for another card than the one that lies there, or for that one to be put on anew. */
  async untilPresented(station, lying) {
    let gone = lying === null;
    await this.until(station, (encoder) => {
      gone ||= encoder?.presence === 'absent';
      return encoder?.state === 'online' && encoder.presence === 'present' && (gone || encoder.card_number !== lying);
    });
  }

  lying(station) {
    const encoder = station.encoders.get(this.encoderId);
    return encoder && encoder.presence !== 'absent' ? encoder.card_number ?? '' : null;
  }

  /** Shows a fault and waits for the clerk to do what it asks for. */
  async mend(station, fault) {
    this.set(station, { tone: BAD, text: () => sentence(fault), more: () => t('say.waiting_again'), canRetry: true });
    await this.untilPresented(station, this.lying(station));
  }
}

/** Writes credentials, each to a card of its own. A job is `{credential, card}`; `card` is null while it is on none. */
export class WriteFlow extends Flow {
  constructor(guest, jobs) {
    super();
    this.guest = guest;
    this.jobs = jobs;
    this.done = [];
  }

  /** An attempt waits for a card for some seconds still. Without its credential it writes to none that comes now. */
  async abandon() {
    const unwritten = this.jobs.filter(({ card }) => card === null);
    await Promise.allSettled(unwritten.map(({ credential }) => call('/acs/credentials/delete', { acs_credential_id: credential })));
  }

  doneText() {
    const m = this.done.length;
    return m > 1 ? t('say.made_many', { guest: this.guest, m }) : t('say.made', { guest: this.guest });
  }

  get progress() {
    const m = this.jobs.length + this.done.length;
    return m > 1 ? { n: this.done.length, m } : null;
  }

  prompt() {
    const m = this.jobs.length + this.done.length;
    if (!this.jobs.some(({ card }) => card === null)) return t('say.place_known', { guest: this.guest, m: this.jobs.length });
    return m > 1 ? t('say.place_of', { n: this.done.length + 1, m }) : t('say.place');
  }

  /** The job for the card that lies there: the one that is on it, else one that is on none. */
  match(card) {
    return this.jobs.find((job) => job.card !== null && job.card === card) ?? this.jobs.find((job) => job.card === null);
  }

  async run(station) {
    this.encoderId = station.encoder?.acs_encoder_id;
    if (!this.encoderId) throw new Refused(409, { message: t('say.no_encoder') });
    while (this.jobs.length > 0 && !this.cancelled) {
      const lying = this.lying(station);
      const job = this.match(lying);
      if (!job) {
        const other = lying !== null && lying !== '';
        this.set(station, other ? { tone: BAD, text: () => t('say.other_card', { guest: this.guest }) } : { tone: WAIT, text: () => this.prompt() });
        await this.untilPresented(station, lying);
        continue;
      }
      this.set(station, lying === null ? { tone: WAIT, text: () => this.prompt() } : { tone: WORK, text: () => t('say.writing') });
      const attempt = await this.attempt(station, job);
      if (attempt.status === 'success') {
        this.jobs = this.jobs.filter((other) => other !== job);
        this.done.push(attempt.result);
        station.dispatchEvent(new Event('written'));
        if (this.jobs.length > 0) {
          const n = this.done.length;
          this.set(station, { tone: GOOD, text: () => t('say.next', { n }) });
          await this.untilPresented(station, attempt.result.card_number ?? '');
        }
      } else if (!this.cancelled) {
        await this.mend(station, attempt.error);
      }
    }
    return this.jobs.length === 0 ? this.done : null;
  }

  async attempt(station, job) {
    const body = { acs_encoder_id: this.encoderId, acs_credential_id: job.credential };
    const { action_attempt: attempt } = await call('/acs/encoders/encode_credential', body);
    return withCardSeen(this, station, attempt, 'say.writing');
  }
}

/** Reads the card. */
export class ReadFlow extends Flow {
  doneText() {
    return t('say.was_read');
  }

  async run(station) {
    this.encoderId = station.encoder?.acs_encoder_id;
    if (!this.encoderId) throw new Refused(409, { message: t('say.no_encoder') });
    while (!this.cancelled) {
      const lying = this.lying(station);
      this.set(station, lying === null ? { tone: WAIT, text: () => t('say.place') } : { tone: WORK, text: () => t('say.reading') });
      const { action_attempt: begun } = await call('/acs/encoders/scan_credential', { acs_encoder_id: this.encoderId });
      const attempt = await withCardSeen(this, station, begun, 'say.reading');
      if (attempt.status === 'success') {
        const fault = station.encoders.get(this.encoderId)?.fault;
        return { ...attempt.result, fault, card_number: attempt.result.acs_credential_on_encoder?.card_number ?? this.lying(station) };
      }
      if (!this.cancelled) await this.mend(station, attempt.error);
    }
    return null;
  }
}

/** Waits for an attempt's end, and says when the card that it waited for has come. */
async function withCardSeen(flow, station, attempt, words) {
  const seen = () => {
    if (flow.phase.tone === WAIT && flow.lying(station) !== null) flow.set(station, { tone: WORK, text: () => t(words) });
  };
  station.addEventListener('change', seen);
  try {
    return await settled(attempt, () => flow.cancelled && !flow.abandon);
  } finally {
    station.removeEventListener('change', seen);
  }
}
