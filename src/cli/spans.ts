/** Lengths of time and points in time as people write and read them. */

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const PARTS = [
  ['d', 86_400],
  ['h', 3_600],
  ['m', 60],
  ['s', 1],
] as const;
/** With seconds and a zone: what is left out would have to be guessed. */
const TIME = /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?([Zz]|[+-]\d{2}:\d{2})$/;

/** Milliseconds of text such as `1h30m`, `90s` or `500ms`; undefined if it is none. */
export function spanMs(text: string): number | undefined {
  if (!/^(\d{1,10}(\.\d{1,3})?(ms|s|m|h|d))+$/.test(text)) return undefined;
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)];
  return parts.reduce((sum, [, count, unit]) => sum + Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS], 0);
}

/** Milliseconds since 1970 of an RFC 3339 time, or of a length of time that lies back, or with `+` ahead. */
export function timeMs(text: string, nowMs: number): number | undefined {
  if (TIME.test(text)) {
    const ms = Date.parse(text);
    return Number.isNaN(ms) ? undefined : ms;
  }
  const length = spanMs(text.replace(/^\+/, ''));
  if (length === undefined) return undefined;
  return text.startsWith('+') ? nowMs + length : nowMs - length;
}

/** The two largest parts: `3d4h`, `5m12s`, `0.3s`. */
export function spanText(ms: number): string {
  if (ms < 0) return `-${spanText(-ms)}`;
  if (ms > 0 && ms < 10_000 && ms % 1_000 !== 0)
    return ms < 1 ? '1ms' : ms < 1_000 ? `${Math.round(ms)}ms` : seconds(ms);
  let rest = Math.round(ms / 1_000);
  const found: string[] = [];
  for (const [unit, size] of PARTS) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0 || found.length > 0) found.push(count > 0 ? `${count}${unit}` : '');
    if (found.length === 2) break;
  }
  return found.join('') || '0s';
}

function seconds(ms: number): string {
  return `${(Math.floor(ms / 100) / 10).toFixed(1)}s`;
}

/** `3m12s ago`, `in 5m`. Clocks differ a little: what is less than two seconds ahead is now. */
export function ageText(ms: number, nowMs: number): string {
  const age = nowMs - ms;
  if (age < -2_000) return `in ${spanText(Math.round(-age / 1_000) * 1_000)}`;
  return `${spanText(Math.max(0, Math.floor(age / 1_000) * 1_000))} ago`;
}

/** In UTC, to the second. */
export function timeText(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d{3}Z$/, 'Z');
}
