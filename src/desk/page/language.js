// The strings table, and which of its languages is shown.

const table = await (await fetch('/desk/words.json')).json();

/** `[['en', 'English'], …]` */
export const LANGUAGES = table.languages;

const KEPT = 'encoderd.language';
let column = chosen();

function chosen() {
  const codes = LANGUAGES.map(([code]) => code);
  const wished = [localStorage.getItem(KEPT), ...(navigator.languages ?? [])];
  const found = wished.map((tag) => codes.indexOf(String(tag).toLowerCase().split('-')[0])).find((at) => at >= 0);
  return found ?? 0;
}

export function language() {
  return LANGUAGES[column][0];
}

export function choose(code) {
  localStorage.setItem(KEPT, code);
  column = chosen();
}

/** The words of a key, with `{name}` filled in. */
export function t(key, values = {}) {
  const words = table.words[key]?.[column];
  if (words === undefined) throw new Error(`no words for ${key}`);
  return words.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '');
}

// English sentences of the hub, longest first, with their kinds: an attempt's error has the sentence and not the kind.
const KINDS = Object.entries(table.words).filter(([key]) => key.startsWith('fault.'))
  .map(([key, words]) => [words[0], key]).sort((a, b) => b[0].length - a[0].length);

/** What a clerk reads of a fault: by its kind, else by the hub's sentence, else that sentence as it is. */
export function sentence(fault) {
  if (fault.kind && table.words[`fault.${fault.kind}`]) return t(`fault.${fault.kind}`);
  const known = KINDS.find(([english]) => fault.message?.startsWith(english));
  return known ? t(known[1]) : fault.message || t('problem.failed');
}
