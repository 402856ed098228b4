/**
 * Adds to a flow's graph: everything concerned is locked and looked at, members are made, joins follow. One transaction;
 * a crash before the commit leaves the flow as it was, a repeat after it is answered by its request id.
 */
import type { Database } from '../database.js';
import { statement } from '../statement.js';
import type { ChangedFlow, FlowAnswer, FlowRefusal } from './answers.js';
import { refusable } from './create.js';
import { joinParameters, type NewJoin } from './graph.js';
import { idsByName, makeMembers, type NewMember } from './members.js';

const begin = statement(
  'flows.begin-extension',
  `select verdict, subject, revision, state, members, flow from {schema}.begin_extension($1, $2, $3, $4, $5, $6, $7::uuid[],
     $8::uuid[], $9::jsonb, $10::uuid[], $11, $12, $13, $14, $15, $16, $17)`,
);

const extend = statement(
  'flows.extend',
  `select revision, state, woken, follows from {schema}.extend_flow($1, $2, $3, $4, $5::jsonb, $6::uuid[], $7, $8::jsonb,
     $9::uuid[], $10::int[], $11::uuid[], $12::uuid[], $13::text[], $14::boolean[], $15::text[])`,
);

const hopsOf = statement('flows.hops', 'select hops from {schema}.execution where id = $1');

export interface FlowExtension {
  readonly namespace: number;
  readonly flow: string;
  readonly requestId: string | null;
  readonly hash: Buffer;
  /** 0: any. */
  readonly expectedRevision: bigint;
  /** Under which the graph was read; 0: it was not, for no member that exists becomes a downstream. */
  readonly seenRevision: bigint;
  readonly members: readonly NewMember[];
  readonly joins: readonly NewJoin[];
  /** Downstreams whose open joins are sealed. */
  readonly sealJoins: readonly string[];
  readonly seal: boolean;
  /** Of the running member that extends its own flow. */
  readonly lease: { readonly execution: string; readonly id: string; readonly token: bigint } | null;
  readonly limits: { readonly members: number; readonly slots: number };
}

interface Begun {
  readonly verdict: FlowRefusal | 'done' | 'duplicate';
  readonly subject: string | null;
  readonly revision: bigint;
  readonly state: number;
  readonly members: Readonly<Record<string, string>>;
  readonly flow: string;
}

export async function extendFlow(database: Database, asked: FlowExtension): Promise<FlowAnswer> {
  const { namespace, flow, members, joins, lease, limits } = asked;
  const madeHere = new Set(members.map(({ execution }) => execution.id));
  const isOld = (execution: string) => !madeHere.has(execution);
  const downstreams = joins.map(({ downstream }) => downstream).filter(isOld);
  const upstreams = joins.flatMap(({ slots }) => slots.map(({ upstream }) => upstream)).filter(isOld);
  const existing = [...new Set([...upstreams, ...downstreams, ...asked.sealJoins.filter(isOld)])];
  const newJoins = joins.filter(({ downstream }) => !isOld(downstream));
  const parameters = joinParameters(joins);
  return await refusable(() =>
    database.transaction(async (runner): Promise<FlowAnswer> => {
      const [begun] = await runner.query<Begun>(begin, [
        namespace,
        flow,
        asked.requestId,
        asked.hash,
        asked.expectedRevision,
        asked.seenRevision,
        existing,
        downstreams,
        parameters[0],
        asked.sealJoins.filter(isOld),
        asked.seal,
        members.length,
        limits.members,
        limits.slots,
        lease?.execution ?? null,
        lease?.id ?? null,
        lease?.token ?? null,
      ]);
      if (begun === undefined) throw new Error('begin_extension answered nothing');
      const { verdict, subject, ...known } = begun;
      if (verdict === 'duplicate') return { verdict, ...known, woken: [], follows: false };
      if (verdict !== 'done') return { verdict, subject, revision: known.revision };
      // As a parent's children: a cycle through them ends as one of events does.
      const [holder] = lease === null ? [] : await runner.query<{ hops: number }>(hopsOf, [lease.execution]);
      const executions = members.map(({ execution }) => ({ ...execution, hops: holder?.hops || null }));
      const woken = await makeMembers(runner, executions, newJoins);
      const [extended] = await runner.query<Pick<ChangedFlow, 'revision' | 'state' | 'woken' | 'follows'>>(extend, [
        namespace,
        flow,
        asked.requestId,
        asked.hash,
        JSON.stringify(idsByName(members)),
        asked.sealJoins,
        asked.seal,
        ...parameters,
      ]);
      if (extended === undefined) throw new Error('extend_flow answered nothing');
      return {
        verdict,
        ...extended,
        flow,
        members: idsByName(members),
        woken: [...woken, ...(extended.woken ?? [])],
      };
    }),
  );
}
