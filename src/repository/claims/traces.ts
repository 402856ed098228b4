/**
 * The traces of what a statement has claimed. They come beside the claims, in one column of the first row, as grant_leases
 * has collected them in a setting: a line of id and trace for each execution that has one. Null or empty: none has.
 */
import { type Trace, traceFrom } from '../executions/trace.js';

/** Of the first of the rows that a function answers under the name `x` with ordinality `n`. */
export const TRACES = `case when x.n = 1 then current_setting('tailrace.traces', true) end as traces`;

const ID_LENGTH = 36;

export function tracesOf(told: string | null | undefined): ReadonlyMap<string, Trace> {
  if (!told) return NONE;
  const lines = told.split('\n').filter((line) => line.length > ID_LENGTH);
  return new Map(lines.map((line) => [line.slice(0, ID_LENGTH), traceFrom(line.slice(ID_LENGTH + 1))]));
}

const NONE: ReadonlyMap<string, Trace> = new Map();

/** The same rows with their traces; where none has one, as they are. */
export function withTraces<Row extends { readonly execution: string }>(
  rows: readonly Row[],
  told: string | null | undefined,
): (Row & { readonly trace?: Trace })[] {
  const traces = tracesOf(told);
  if (traces.size === 0) return [...rows];
  return rows.map((row) => {
    const trace = traces.get(row.execution);
    return trace ? { ...row, trace } : row;
  });
}
