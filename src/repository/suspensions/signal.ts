/** Something is told to an execution: it is kept, and may let a suspension go on. */
import type { Content } from '../bytes.js';
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import type { GoneOn } from './gone-on.js';

const tell = statement(
  'suspensions.signal',
  `select verdict, signal, state, attempt, token, classes, delay_ms, left_over
   from {schema}.signal_execution($1, $2, $3, $4, $5, $6, $7::smallint, $8, $9, $10, $11, $12, $13, $14)`,
);

/** By the id of a waitpoint that a token names, or by authority. */
export type SignalTarget =
  | { readonly waitpoint: string }
  | {
      readonly execution: string;
      /** Null: the execution itself. */
      readonly key: string | null;
    };

export interface NewSignal {
  readonly namespace: number;
  readonly target: SignalTarget;
  readonly id: string;
  readonly name: string;
  readonly source: number;
  readonly sourceId: string;
  readonly content: Content | null;
  /** The caller's idempotency key, and a hash of what it stands for. */
  readonly once: string | null;
  readonly hash: Buffer;
  readonly limits: {
    /** Of one execution. */
    readonly perExecution: number;
    /** Of one waitpoint that no suspension names yet. */
    readonly earlyPerWaitpoint: number;
  };
}

export interface SignalAnswer extends GoneOn {
  /**
   * ignored: cancellation was asked for, and nothing kept. reused: its idempotency key stands for another signal.
   * missing, closed: the waitpoint. full: of signals. crowded: the waitpoint, of early ones.
   */
  readonly verdict:
    | 'satisfied'
    | 'appended'
    | 'buffered'
    | 'ignored'
    | 'duplicate'
    | 'reused'
    | 'not_found'
    | 'terminal'
    | 'missing'
    | 'closed'
    | 'full'
    | 'crowded';
  /** Of the first one for a duplicate; null when none was kept. */
  readonly signal: string | null;
  /** How the execution ended. */
  readonly state: number | null;
  readonly attempt: number | null;
  readonly token: bigint | null;
}

export async function signalExecution(runner: Runner, signal: NewSignal): Promise<SignalAnswer> {
  const { target, content, limits } = signal;
  const byToken = 'waitpoint' in target;
  const [row] = await runner.query<SignalAnswer>(tell, [
    signal.namespace,
    byToken ? null : target.execution,
    byToken ? null : target.key,
    byToken ? target.waitpoint : null,
    signal.id,
    signal.name,
    signal.source,
    signal.sourceId,
    content?.type ?? null,
    content?.body ?? null,
    signal.once,
    signal.hash,
    limits.perExecution,
    limits.earlyPerWaitpoint,
  ]);
  if (row === undefined) throw new Error('signal_execution answered nothing');
  return row;
}
