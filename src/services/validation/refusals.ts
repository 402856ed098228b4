/** How building blocks refuse: one violation that states the rule and shows what was found. */
import type { z } from 'zod';
import type { Reason } from '../../domain/errors.js';

/** What a violation says beyond its text when it stands for another reason than INVALID_FIELD. */
export interface RefusalParams {
  readonly reason: Reason;
  readonly metadata: Readonly<Record<string, string>>;
}

/** What zod hands to checks and transforms alike: the place where violations are collected. */
type Issues = z.core.$ZodRawIssue[];

export function refuse(issues: Issues, found: unknown, message: string, path?: readonly (string | number)[]): void {
  issues.push({ code: 'custom', input: found, message, ...(path && { path: [...path] }) });
}

/** Refuses with a reason of its own, if nothing else is wrong with the request. */
export function refuseAs(issues: Issues, found: unknown, message: string, params: RefusalParams): void {
  issues.push({ code: 'custom', input: found, message, params: { ...params } });
}

/** A check that answers what is wrong, or undefined. */
export function rule<T>(wrong: (value: T) => string | undefined): (context: z.core.ParsePayload<T>) => void {
  return (context) => {
    const message = wrong(context.value);
    if (message !== undefined) refuse(context.issues, context.value, message);
  };
}

/** A rule of a request that depends on no other: whatever else is wrong, it is looked at too. */
export function always<T>(check: (context: z.core.ParsePayload<T>) => void): z.core.$ZodCheck<T> {
  return { _zod: { check, def: { check: 'custom', when: () => true }, onattach: [] } };
}

const SHOWN = 60;

/** A value as a message may quote it: short, on one line. */
export function shown(value: string | number | bigint): string {
  if (typeof value !== 'string') return String(value);
  const cut = value.length > SHOWN ? `${value.slice(0, SHOWN)}…` : value;
  return JSON.stringify(cut);
}
