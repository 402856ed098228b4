/**
 * What a setting may look like: each rule reads the text of an environment variable, says in words what it takes, and gives
 * the value in the unit that the program counts in.
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';

const KEY_RULE = '32 bytes in base64, as `openssl rand -base64 32` prints them';
const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
/** A hundred years: longer is written `forever`, where that is allowed. */
const LONGEST_MS = 36_500 * UNIT_MS.d;

export function text(accepts: (value: string) => boolean, rule: string) {
  return z.string().refine(accepts, rule);
}

export function whole(least: number, most: number, standard: number) {
  const fits = (value: string) => /^\d{1,10}$/.test(value) && Number(value) >= least && Number(value) <= most;
  return text(fits, `a whole number from ${least} to ${most}`).default(String(standard)).transform(Number);
}

export function flag(standard: boolean) {
  const isFlag = (value: string) => value === 'true' || value === 'false';
  return text(isFlag, 'true or false')
    .default(String(standard))
    .transform((value) => value === 'true');
}

/** A length of time such as `90s`, `15m`, `12h` or `30d`; milliseconds. */
export function span(standard: string, least = '1s') {
  return text((value) => spanFits(value, least), spanRule(least))
    .default(standard)
    .transform(spanMs);
}

/** The same, or `forever`, which is undefined. */
export function spanOrForever(standard: string, least = '1s') {
  return text((value) => value === 'forever' || spanFits(value, least), `${spanRule(least)}, or forever`)
    .default(standard)
    .transform((value) => (value === 'forever' ? undefined : spanMs(value)));
}

export function file() {
  return fileContent().optional();
}

export function secretsKey() {
  return text((value) => keyIn(value) !== undefined, KEY_RULE)
    .transform(keyIn)
    .optional();
}

export function keyFile() {
  return fileContent()
    .transform((content) => keyIn(content.toString('latin1').trim()))
    .refine((key) => key !== undefined, `a file with ${KEY_RULE}`)
    .optional();
}

function spanRule(least: string): string {
  return `a length of time such as 90s, 15m, 12h or 30d, at least ${least}`;
}

function spanFits(value: string, least: string): boolean {
  if (!/^\d{1,10}(ms|s|m|h|d)$/.test(value)) return false;
  return spanMs(value) >= spanMs(least) && spanMs(value) <= LONGEST_MS;
}

/** Of text that fits. */
function spanMs(value: string): number {
  const [, count = '0', unit = 'ms'] = /^(\d+)(ms|s|m|h|d)$/.exec(value) ?? [];
  return Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS];
}

/** Its bytes. */
export function fileContent() {
  return z.string().transform((path, context) => {
    try {
      return readFileSync(path);
    } catch (error) {
      context.addIssue(`a file that can be read (${(error as NodeJS.ErrnoException).code})`);
      return z.NEVER;
    }
  });
}

function keyIn(value: string): Buffer | undefined {
  return /^[A-Za-z0-9+/]{43}=$/.test(value) ? Buffer.from(value, 'base64') : undefined;
}
