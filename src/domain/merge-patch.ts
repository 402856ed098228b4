/**
 * What a patch of a summary must be: the text of a JSON object (RFC 7396) whose every part the database can keep as it is.
 * Postgres keeps numbers as decimals, written out: beyond the range of a double they would fill pages, or be refused.
 */

const DEPTH = 64;
const NUMBER_DIGITS = 400;
const EXPONENT = 400;
const LONE_SURROGATE = /\p{Surrogate}/u;
const STRING = /"(?:[^"\\]|\\.)*"/g;
const NUMBER = /-?\d[\d.eE+-]*/g;

/** What is wrong with it, or undefined. */
export function wrongMergePatch(text: string): string | undefined {
  let patch: unknown;
  try {
    patch = JSON.parse(text);
  } catch {
    return 'must be JSON';
  }
  if (patch === null || typeof patch !== 'object' || Array.isArray(patch)) return 'must be a JSON object';
  return wrongParts(patch) ?? wrongNumber(text.replace(STRING, '""'));
}

/** Level by level, since a patch may be deeper than the stack. */
function wrongParts(patch: object): string | undefined {
  let level: unknown[] = [patch];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > DEPTH) return `must be at most ${DEPTH} levels deep`;
    const next: unknown[] = [];
    for (const part of level) {
      if (typeof part === 'string') {
        const wrong = wrongString(part);
        if (wrong !== undefined) return wrong;
      } else if (Array.isArray(part)) {
        for (const item of part) next.push(item);
      } else if (part !== null && typeof part === 'object') {
        for (const [key, value] of Object.entries(part)) {
          const wrong = wrongString(key);
          if (wrong !== undefined) return wrong;
          next.push(value);
        }
      }
    }
    level = next;
  }
  return undefined;
}

function wrongString(value: string): string | undefined {
  if (value.includes('\0')) return 'must not contain the character NUL';
  return LONE_SURROGATE.test(value) ? 'must be valid Unicode; it contains half of a surrogate pair' : undefined;
}

/** `text`: JSON without what stands in its strings. */
function wrongNumber(text: string): string | undefined {
  for (const [number] of text.matchAll(NUMBER)) {
    const [, exponent = '0'] = number.split(/e/i);
    const isKept =
      number.length <= NUMBER_DIGITS && Math.abs(Number(exponent)) <= EXPONENT && Number.isFinite(Number(number));
    if (!isKept) return `must contain finite numbers only, as a double holds them; it contains ${number.slice(0, 60)}`;
  }
  return undefined;
}
