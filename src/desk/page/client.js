// Talks to where the page comes from: in a session at the front-desk PC, or with an API key from elsewhere.

const KEPT = 'encoderd.api_key';

/** What was answered that was not what was asked for. */
export class Refused extends Error {
  constructor(status, body) {
    super(body?.error?.message ?? body?.message ?? body?.problem ?? `HTTP ${status}`);
    this.status = status;
    this.problem = body?.problem;
    this.kind = body?.kind;
  }
}

let session = null;

/** Begins to work: `{mode: 'local', has_pin}` or `{mode: 'key', ready}`, or the problem that stands in the way. */
export async function begin(pin = null) {
  const answer = await fetch('/desk/session', {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(pin === null ? {} : { pin }),
  });
  const body = await answer.json();
  if (!answer.ok) return { problem: body.problem, wait: Number(answer.headers.get('retry-after') ?? 0) };
  session = body;
  return body.mode === 'key' ? { mode: 'key', ready: Boolean(sessionStorage.getItem(KEPT)) } : body;
}

export function keepKey(key) {
  sessionStorage.setItem(KEPT, key);
}

export function forgetKey() {
  sessionStorage.removeItem(KEPT);
}

/** Whether this PC's daemon can be asked. */
export function isLocal() {
  return session?.mode === 'local';
}

export async function end() {
  await fetch('/desk/session', { method: 'DELETE', headers: { 'x-encoderd-csrf': session?.csrf ?? '' } });
}

function request(path, options = {}) {
  const local = isLocal();
  const headers = { ...options.headers };
  if (local) headers['x-encoderd-csrf'] = session.csrf;
  else headers.authorization = `Bearer ${sessionStorage.getItem(KEPT) ?? ''}`;
  return fetch(local ? `/desk/api${path}` : path, { ...options, headers });
}

/** After a restart of encoderd the session is gone; without a PIN a new one begins by itself. */
async function inSession(send) {
  let answer = await send();
  if (answer.status === 401 && isLocal()) {
    const begun = await begin();
    if (begun.problem) {
      dispatchEvent(new Event('encoderd:locked'));
      return answer;
    }
    answer = await send();
  } else if (answer.status === 401) {
    forgetKey();
    dispatchEvent(new Event('encoderd:locked'));
  }
  return answer;
}

async function posted(send) {
  const answer = await inSession(send);
  let body = null;
  try {
    body = await answer.json();
  } catch {
    // An answer without JSON has its status only.
  }
  if (!answer.ok) throw new Refused(answer.status, body);
  return body;
}

const json = (body) => ({
  method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body),
});

/** A path of the hub. */
export function call(path, body = {}) {
  return posted(() => request(path, json(body)));
}

/** All pages of a list, up to a bound. */
export async function all(path, body, key, max = 20) {
  const found = [];
  let cursor = null;
  for (let page = 0; page < max; page += 1) {
    const answer = await call(path, cursor ? { ...body, page_cursor: cursor } : body);
    found.push(...answer[key]);
    cursor = answer.pagination?.next_page_cursor;
    if (!cursor) return { found, more: false };
  }
  return { found, more: true };
}

/** This PC's daemon. */
export function daemon(action, body = {}) {
  return posted(() => {
    const { headers, ...rest } = json(body);
    return fetch(`/desk/encoders/${action}`, { ...rest, headers: { ...headers, 'x-encoderd-csrf': session?.csrf ?? '' } });
  });
}

/** Tells of encoders as they change, for ever: a connection that ends is made anew. */
export async function watch(told, reachable) {
  for (;;) {
    try {
      const answer = await inSession(() => request('/encoderd/v1/events?encoders=true', { headers: { accept: 'text/event-stream' } }));
      if (!answer.ok) throw new Refused(answer.status, null);
      reachable(true);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = '';
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        text += value;
        const messages = text.split(/\r?\n\r?\n/);
        text = messages.pop();
        for (const message of messages) tell(message, told);
      }
    } catch {
      reachable(false);
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

function tell(message, told) {
  let kind = 'message';
  const data = [];
  for (const line of message.split(/\r?\n/)) {
    if (line.startsWith('event:')) kind = line.slice(6).trim();
    else if (line.startsWith('data:')) data.push(line.slice(5).trimStart());
  }
  if (data.length > 0) told(kind, JSON.parse(data.join('\n')));
}

const LOOK_EVERY_MS = 150;

/** Waits for an attempt's end; each has one. Or until nobody wants to know it. */
export async function settled(attempt, forgotten = () => false) {
  let now = attempt;
  while (now.status === 'pending' && !forgotten()) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    ({ action_attempt: now } = await call('/action_attempts/get', { action_attempt_id: now.action_attempt_id }));
  }
  return now;
}
