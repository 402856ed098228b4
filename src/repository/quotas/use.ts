/**
 * What counts in a quota `q`, as SQL. Running work is counted from its leases, starts from the buckets of the window:
 * nothing else is written, so what is shown is what a claim decides by.
 */

/** Of its lane, or of every lane of its namespace. */
const CLASSES = `array(select c.id from {schema}.claim_class c where c.lane = q.lane)
       || array(select c.id from {schema}.claim_class c where q.lane = 0 and c.namespace = q.namespace)`;

/** How many run. */
export const RUNNING = `(select count(*) from {schema}.lease x where x.limited and x.class = any (${CLASSES}))`;

/** Whether a bucket `b` of the window still counts. A bucket leaves whole, with its last start. */
const COUNTS = `b.at > clock_timestamp() - q.window_ms * interval '1 ms'`;

/** How many started in the present window. */
export const STARTED = `(
     select coalesce(sum(b.n), 0) from unnest(q.started_at, q.started) b (at, n) where ${COUNTS})`;

/** When so many buckets have left the window that one more may start; of use only while it is full. */
export const FREE_AT = `(
     select min(b.at) + q.window_ms * interval '1 ms' from (
       select y.at, sum(y.n) over (order by y.at desc rows unbounded preceding) - y.n as later
       from unnest(q.started_at, q.started) y (at, n)) b
     where b.later < q.max_starts and ${COUNTS})`;
