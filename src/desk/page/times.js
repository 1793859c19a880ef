// Times of the property: what people type and read is in its time zone, wherever the browser stands.
import { language } from './language.js';

/** Milliseconds that a zone is ahead of UTC at a moment. */
function ahead(zone, ms) {
  const parts = Object.fromEntries(new Intl.DateTimeFormat('en-US', {
    timeZone: zone, hourCycle: 'h23', year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric',
    second: 'numeric',
  }).formatToParts(ms).map(({ type, value }) => [type, Number(value)]));
  const there = Date.UTC(parts.year, parts.month - 1, parts.day, parts.hour, parts.minute, parts.second);
  return there - Math.floor(ms / 1000) * 1000;
}

/** `2026-11-22T15:30` of the zone, as a moment. */
export function moment(zone, text) {
  const match = /^(\d{4,})-(\d\d)-(\d\d)T(\d\d):(\d\d)/.exec(text);
  if (!match) return null;
  const [year, month, day, hour, minute] = match.slice(1).map(Number);
  const asUtc = Date.UTC(year, month - 1, day, hour, minute);
  // Twice, because the first guess may lie on the other side of a change of the clocks.
  const guess = asUtc - ahead(zone, asUtc);
  return new Date(asUtc - ahead(zone, guess));
}

/** A moment as an input of the zone shows it. */
export function typed(zone, ms) {
  return new Date(ms + ahead(zone, ms)).toISOString().slice(0, 16);
}

/** The morning of departure, so many nights on. */
export function departure(zone, from, nights) {
  const day = new Date(Date.parse(`${typed(zone, from).slice(0, 10)}T00:00:00Z`) + nights * 86_400_000);
  return `${day.toISOString().slice(0, 10)}T11:00`;
}

/** A moment for people. */
export function shown(zone, text) {
  return new Intl.DateTimeFormat(language(), {
    timeZone: zone, weekday: 'short', day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit',
  }).format(new Date(text));
}
