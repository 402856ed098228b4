/**
 * A rule across tables that holds in every snapshot, written as the query that finds what breaks it.
 *
 * Every transition is one transaction, so these hold at any moment, also while work goes on. They read whole tables:
 * they are for tests, for the command line, and for the hour after something went wrong.
 */
import { type Statement, statement } from '../statement.js';

export interface Invariant {
  readonly name: string;
  /** What holds, for people. */
  readonly rule: string;
  readonly query: Statement;
}

/** Samples shown of each. */
export const SAMPLES = 10;

/** `violations`: a query whose column `sample` names what breaks the rule. */
export function invariant(name: string, rule: string, violations: string): Invariant {
  const query = statement(
    `verification.${name}`,
    `select v.sample::text as sample from (${violations}) v limit ${SAMPLES + 1}`,
  );
  return { name, rule, query };
}
