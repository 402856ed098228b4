/** What rules need to know of what retention has taken: who is missing rightly. */

/** Everything of the log that was recorded later is there. */
export const LOG_GONE_AT = `(select coalesce(i.gone_at, '-infinity') from {schema}.log_incarnation i)`;

/** Positions up to here are gone. */
export const LOG_FLOOR = '(select i.floor from {schema}.log_incarnation i)';

/** Rows of the log before it are gone. */
export const LOG_FLOOR_SEQ = '(select i.floor_seq from {schema}.log_incarnation i)';

/** Executions, or events, with this id or a lower one may be gone. */
export function mayBeGone(id: string, subject: 'executions' | 'events' = 'executions'): string {
  return `(${id} < (select {schema}.uuid_at(r.frontier_ms) from {schema}.retirement r where r.subject = '${subject}'))`;
}

/** This execution is not there any more, and need not be. */
export function isGone(id: string): string {
  return `(${mayBeGone(id)} and not exists (select from {schema}.execution gone where gone.id = ${id}))`;
}

/** Flows and joins that ended before this may be gone. */
export function shownFrom(namespace: string): string {
  return `coalesce((select n.floor_at from {schema}.namespace n where n.id = ${namespace}), '-infinity')`;
}
