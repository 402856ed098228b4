/** What options and arguments may take. Each refuses in words what does not fit. */
import type { GenEnum } from '@bufbuild/protobuf/codegenv2';
import { type Duration, durationFromMs, type Timestamp, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { nearest } from '../domain/nearest.js';
import { wallMs } from '../runtime/clock.js';
import type { NameKind, Rule } from './command.js';
import { numbersOf, wordsOf } from './enum-words.js';
import { spanMs, timeMs } from './spans.js';
import { UsageError } from './usage-error.js';

interface TextOptions {
  readonly names?: NameKind;
  readonly file?: boolean;
  readonly short?: string;
}

export function text(value: string, about: string, more: TextOptions = {}): Rule<string | undefined> {
  return { about, value: `<${value}>`, ...more, parse: (given) => given };
}

/** May be given several times. */
export function texts(value: string, about: string, more: TextOptions = {}): Rule<readonly string[]> {
  return {
    about: `${about} May be repeated.`,
    value: `<${value}>`,
    many: true,
    initial: [],
    ...more,
    parse: (given, before) => [...(before ?? []), given],
  };
}

export function flag(about: string, more: Pick<TextOptions, 'short'> = {}): Rule<boolean> {
  return { about, value: '', initial: false, ...more, parse: () => true };
}

export function whole(value: string, about: string, least = 0, most = 2 ** 31 - 1): Rule<number | undefined> {
  return {
    about,
    value: `<${value}>`,
    parse(given) {
      const number = Number(given);
      if (!/^-?\d{1,10}$/.test(given) || number < least || number > most) {
        throw new UsageError(`must be a whole number from ${least} to ${most}; it is "${given}"`);
      }
      return number;
    },
  };
}

/** 64 bits: versions, tokens, counts. */
export function large(value: string, about: string): Rule<bigint | undefined> {
  return { about, value: `<${value}>`, parse: (given) => largeOf(given) };
}

export function largeOf(given: string): bigint {
  if (!/^\d{1,18}$/.test(given)) throw new UsageError(`must be a whole number; it is "${given}"`);
  return BigInt(given);
}

export function span(about: string, value = 'span'): Rule<Duration | undefined> {
  return { about, value: `<${value}>`, parse: (given) => durationFromMs(spanOf(given)) };
}

export function spanOf(given: string): number {
  const ms = spanMs(given);
  if (ms === undefined)
    throw new UsageError(`must be a length of time such as 500ms, 90s, 1h30m or 7d; it is "${given}"`);
  return ms;
}

/** RFC 3339, or how long ago: `2h`. */
export function past(about: string): Rule<Timestamp | undefined> {
  return { about, value: '<time>', parse: (given) => timestampOf(given, 'how long ago, such as 2h') };
}

/** RFC 3339, or from now: `+10m`. */
export function future(about: string): Rule<Timestamp | undefined> {
  return { about, value: '<time>', parse: (given) => timestampOf(given, 'from now, such as +10m') };
}

function timestampOf(given: string, relative: string): Timestamp {
  const ms = timeMs(given, wallMs());
  if (ms === undefined)
    throw new UsageError(`must be a time such as 2030-01-31T12:00:00Z, or ${relative}; it is "${given}"`);
  return timestampFromMs(ms);
}

export function choice<E extends number>(schema: GenEnum<E>, about: string): Rule<E | undefined> {
  const choices = wordsOf(schema);
  return {
    about,
    value: `<${placeholder(schema)}>`,
    choices,
    parse(given) {
      const [number] = chosen<E>(schema, given.replace('*', ' '));
      return number;
    },
  };
}

/** Several, also as a list with commas, and with a `*` at the end. */
export function choices<E extends number>(schema: GenEnum<E>, about: string): Rule<readonly E[]> {
  return {
    about: `${about} May be repeated.`,
    value: `<${placeholder(schema)}>`,
    many: true,
    initial: [],
    choices: wordsOf(schema),
    parse: (given, before) => [...(before ?? []), ...given.split(',').flatMap((word) => chosen<E>(schema, word))],
  };
}

function chosen<E extends number>(schema: GenEnum<E>, word: string): E[] {
  const numbers = numbersOf(schema, word);
  if (numbers.length > 0) return numbers as E[];
  const words = wordsOf(schema);
  const near = nearest(word.toLowerCase(), words);
  throw new UsageError(
    `"${word}" is none of them; ${near ? `did you mean ${near}?` : `there are ${words.join(', ')}`}`,
  );
}

/** `EXECUTION_STATE` → `state`. */
function placeholder({ name }: GenEnum<number>): string {
  return name.replace(/^.*([A-Z][a-z]+)$/, '$1').toLowerCase();
}

/** `key=value`, several times. */
export function pairs(about: string, value = 'key=value'): Rule<Readonly<Record<string, string>>> {
  return {
    about: `${about} May be repeated.`,
    value: `<${value}>`,
    many: true,
    initial: {},
    parse(given, before) {
      const at = given.indexOf('=');
      if (at < 1) throw new UsageError(`must be ${value}; it is "${given}"`);
      return { ...before, [given.slice(0, at)]: given.slice(at + 1) };
    },
  };
}

/** The command is refused without it. */
export function required<T>(rule: Rule<T | undefined>): Rule<T> {
  return { ...(rule as Rule<T>), required: true };
}

/** An argument that has to be given. */
export function argument(value: string, about: string, more: TextOptions = {}): Rule<string> {
  return { about, value: `<${value}>`, ...more, parse: (given) => given };
}

/** One or more of them. */
export function argumentList(value: string, about: string, more: TextOptions = {}): Rule<readonly string[]> {
  return { ...texts(value, about, more), about, value: `<${value}...>` };
}
