/**
 * SQL that tells what a namespace still shows. What ended before its floor is not shown from the moment the floor moves; the
 * rows go later. Every statement that answers callers looks the floor up itself, in its own snapshot, once: nobody who reads
 * page by page, or elsewhere right after, meets what another answer has left out.
 *
 * Whatever does not answer callers (claims, joins, redrives) does not ask: what open work needs is there, shown or not.
 */

/** `namespace`: expression of its number, the same for all rows. Null: everything is shown. */
function floorOf(namespace: string): string {
  return `(select y.floor_at from {schema}.namespace y where y.id = ${namespace})`;
}

/** Of the log and events. */
export function logFloorOf(namespace: string): string {
  return `(select y.log_floor_at from {schema}.namespace y where y.id = ${namespace})`;
}

/** Whether what ended at this time, or has not where that is null, is shown. */
export function isShown(endedAt: string, namespace: string): string {
  return `(${endedAt} < ${floorOf(namespace)}) is not true`;
}

/**
 * Whether an execution is shown, whatever its state. One that was made behind the floor cannot have ended before it: its
 * outcome is looked at only where `madeAt` (of it, or of one of its attempts the end) says nothing.
 */
export function isExecutionShown(id: string, namespace: string, madeAt?: string): string {
  const outcome = `((select y.ended_at from {schema}.outcome y where y.execution = ${id}) < ${floorOf(namespace)}) is not true`;
  return madeAt === undefined ? outcome : `(${madeAt} >= ${floorOf(namespace)} or ${outcome})`;
}

/** Whether a flow is shown; null stands for none, which keeps nothing back. */
export function isFlowShown(id: string, namespace: string): string {
  return `((select y.ended_at from {schema}.flow y where y.id = ${id}) < ${floorOf(namespace)}) is not true`;
}

/** Whether an event, or another entry of the log, is shown. */
export function isEventShown(publishedAt: string, namespace: string): string {
  return `(${publishedAt} < ${logFloorOf(namespace)}) is not true`;
}

/** Whether a dead letter is shown: open ones always are. Where its namespace says nothing, as long as it is there. */
export function isLetterShown(closedAt: string, namespace: string): string {
  return `(${closedAt} < clock_timestamp()
         - (select y.keep_letters_ms from {schema}.namespace y where y.id = ${namespace}) * interval '1 millisecond') is not true`;
}
