/** What was given up, as it was asked for: from this a redrive is made. */
import type { Content } from '../bytes.js';
import type { Runner } from '../database.js';
import type { NewExecution } from '../executions/index.js';
import type { ClassKey } from '../registry/index.js';
import { statement } from '../statement.js';

/** As the first run was asked for. A time to live or a deadline that has passed is left out. */
const read = statement(
  'dead-letters.originals',
  `select d.id as letter, d.subject::int as subject, d.execution, d.lane, d.type, d.tags, d.input_type, d.input,
     c.capabilities, e.class,
     e.priority::int as priority, e.timeout_ms, e.retry_max, e.retry_initial_ms, e.retry_factor, e.retry_cap_ms,
     e.reclaims_max, e.count_lost, e.concurrency_key, d.flow, e.optional, e.parent,
     case when e.deadline > t.now then e.deadline end as deadline,
     case when e.start_by > t.now then extract(epoch from e.start_by - t.now) * 1000 end::double precision as ttl_ms
   from unnest($2::uuid[]) u (id)
   cross join (select clock_timestamp() as now) t
   cross join lateral (select x.* from {schema}.dead_letter x where x.id = u.id offset 0) d
   left join lateral (select x.* from {schema}.execution x where x.id = d.execution limit 1) e on true
   left join {schema}.claim_class c on c.id = e.class
   where d.namespace = $1::int`,
);

export interface Original {
  readonly letter: string;
  readonly subject: number;
  readonly execution: string | null;
  readonly lane: string;
  readonly type: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly input_type: string | null;
  readonly input: Buffer | null;
  /** Null from here on when its core row is gone. */
  readonly capabilities: readonly string[] | null;
  readonly class: number | null;
  readonly priority: number | null;
  readonly timeout_ms: bigint | null;
  readonly retry_max: number | null;
  readonly retry_initial_ms: bigint | null;
  readonly retry_factor: number | null;
  readonly retry_cap_ms: bigint | null;
  readonly reclaims_max: number | null;
  readonly count_lost: boolean | null;
  readonly concurrency_key: string | null;
  readonly flow: string | null;
  readonly optional: boolean | null;
  readonly parent: string | null;
  readonly deadline: Date | null;
  readonly ttl_ms: number | null;
}

/** In no order; letters that this namespace does not have are missing. */
export function readOriginals(runner: Runner, namespace: number, letters: readonly string[]): Promise<Original[]> {
  return runner.query<Original>(read, [namespace, letters]);
}

/**
 * Each the first run's, unless another lane is asked for, or its core row is gone and with it what it required: then one that
 * `intern` answers, in the order of its keys.
 */
export async function classesOf(
  intern: (keys: readonly ClassKey[]) => Promise<readonly { readonly id: number }[]>,
  namespace: number,
  asked: string | null,
  originals: readonly Original[],
): Promise<number[]> {
  const others = originals.filter((original) => kept(original, asked) === null);
  const keys = others.map(({ lane, type, capabilities }) => {
    return { namespace, lane: asked ?? lane, type, capabilities: capabilities ?? [] };
  });
  const made = keys.length === 0 ? [] : await intern(keys);
  return originals.map((original) => {
    const id = kept(original, asked) ?? made[others.indexOf(original)]?.id;
    if (id === undefined) throw new Error('intern_classes answered nothing');
    return id;
  });
}

function kept(original: Original, asked: string | null): number | null {
  return (asked ?? original.lane) === original.lane ? original.class : null;
}

/** Where it stands: with the letter it is for, in a flow or alone, as its caller decides. */
type Placed = Pick<
  NewExecution,
  'id' | 'namespace' | 'class' | 'requestId' | 'hash' | 'runAt' | 'redrive' | 'flow' | 'parent'
>;

/** `input`: in place of the original. */
export function toExecution(placed: Placed, original: Original, input: Content | null): NewExecution {
  const first = original.input_type === null ? null : { type: original.input_type, body: original.input ?? NOTHING };
  const { id, namespace, class: classId, requestId, hash, runAt, redrive, flow, parent } = placed;
  return {
    ...{ id, namespace, class: classId, requestId, hash, runAt, redrive, flow, parent },
    priority: original.priority ?? 0,
    delayMs: null,
    ttlMs: original.ttl_ms === null ? null : Math.ceil(original.ttl_ms),
    deadline: original.deadline,
    timeoutMs: numberOrNull(original.timeout_ms),
    retry: {
      maxAttempts: original.retry_max,
      initialMs: numberOrNull(original.retry_initial_ms),
      factor: original.retry_factor,
      capMs: numberOrNull(original.retry_cap_ms),
      maxReclaims: original.reclaims_max,
      countLost: original.count_lost,
    },
    tags: original.tags,
    input: input ?? first,
    concurrencyKey: original.concurrency_key,
  };
}

const NOTHING = Buffer.alloc(0);

function numberOrNull(value: bigint | null): number | null {
  return value === null ? null : Number(value);
}
