/** Seals a flow, and the joins of it that still took slots. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import type { FlowAnswer, FlowRefusal } from './answers.js';

const seal = statement(
  'flows.seal',
  'select verdict, flow, revision, state, woken, follows from {schema}.seal_flow($1, $2, $3)',
);

export interface Sealing {
  readonly namespace: number;
  readonly flow: string;
  /** 0: any. */
  readonly expectedRevision: bigint;
}

interface Sealed {
  readonly verdict: FlowRefusal | 'done';
  readonly flow: string;
  readonly revision: bigint;
  readonly state: number;
  readonly woken: readonly number[] | null;
  readonly follows: boolean;
}

export async function sealFlow(runner: Runner, asked: Sealing): Promise<FlowAnswer> {
  const [row] = await runner.query<Sealed>(seal, [asked.namespace, asked.flow, asked.expectedRevision]);
  if (row === undefined) throw new Error('seal_flow answered nothing');
  const { verdict, flow, revision, state, woken, follows } = row;
  if (verdict !== 'done') return { verdict, subject: flow, revision };
  return { verdict, flow, revision, state, members: {}, woken: woken ?? [], follows };
}
