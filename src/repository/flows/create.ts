/** Makes a flow with its members and joins: all or nothing, one transaction. A crash before the commit leaves nothing. */
import type { Database, Runner } from '../database.js';
import { statement } from '../statement.js';
import type { FlowAnswer } from './answers.js';
import { joinParameters, type NewJoin } from './graph.js';
import { idsByName, makeMembers, type NewMember, Refusal } from './members.js';

const begin = statement(
  'flows.begin',
  `select verdict, flow, revision, state, members from {schema}.begin_flow($1, $2, $3, $4, $5, $6::jsonb, $7::smallint, $8,
     $9, $10, $11, $12, $13::jsonb)`,
);

const addJoins = statement(
  'flows.add-joins',
  `select {schema}.add_joins($1::int, $2::uuid, $3::smallint, $4::jsonb, $5::uuid[], $6::int[], $7::uuid[], $8::uuid[],
     $9::text[], $10::boolean[], $11::text[], clock_timestamp())`,
);

export interface NewFlow {
  /** UUIDv7. */
  readonly id: string;
  readonly namespace: number;
  readonly requestId: string | null;
  /** Of everything that was asked for. */
  readonly hash: Buffer;
  readonly name: string;
  readonly tags: Readonly<Record<string, string>>;
  /** FlowFailurePolicy: 1 continue, 2 cancel the rest. */
  readonly failurePolicy: number;
  readonly cancel: CancelSettings;
  readonly open: boolean;
  readonly sealAfterIdleMs: number | null;
}

/** How running members are stopped. */
export interface CancelSettings {
  readonly now: boolean;
  readonly graceMs: number;
  readonly acceptsLate: boolean;
}

interface Begun {
  readonly verdict: 'done' | 'duplicate' | 'reused';
  readonly flow: string;
  readonly revision: bigint;
  readonly state: number;
  readonly members: Readonly<Record<string, string>>;
}

export async function createFlow(
  database: Database,
  flow: NewFlow,
  members: readonly NewMember[],
  joins: readonly NewJoin[],
): Promise<FlowAnswer> {
  return await refusable(() =>
    database.transaction(async (runner) => {
      const [begun] = await runner.query<Begun>(begin, [
        flow.id,
        flow.namespace,
        flow.requestId,
        flow.hash,
        flow.name,
        JSON.stringify(flow.tags),
        flow.failurePolicy,
        flow.cancel.now,
        flow.cancel.graceMs,
        flow.cancel.acceptsLate,
        flow.open,
        flow.sealAfterIdleMs,
        JSON.stringify(idsByName(members)),
      ]);
      if (begun === undefined) throw new Error('begin_flow answered nothing');
      const { verdict, ...known } = begun;
      // Rolled back: the flow's id may be taken under another request id, which must not be remembered with it.
      if (verdict === 'reused') throw new Refusal(verdict, begun.flow);
      if (verdict === 'duplicate') return { verdict, ...known, woken: [], follows: false };
      const executions = members.map(({ execution }) => execution);
      const woken = await makeMembers(runner, executions, joins);
      await storeJoins(runner, flow.namespace, flow.id, EDGES, joins);
      return { verdict, ...known, woken, follows: false };
    }),
  );
}

/** JoinKind. */
const EDGES = 1;

async function storeJoins(
  runner: Runner,
  namespace: number,
  flow: string,
  kind: number,
  joins: readonly NewJoin[],
): Promise<void> {
  if (joins.length > 0) await runner.query(addJoins, [namespace, flow, kind, ...joinParameters(joins)]);
}

/** A refusal that had to roll back is an answer like any. */
export async function refusable(change: () => Promise<FlowAnswer>): Promise<FlowAnswer> {
  try {
    return await change();
  } catch (error) {
    if (error instanceof Refusal) return { verdict: error.verdict, subject: error.subject, revision: null };
    throw error;
  }
}
