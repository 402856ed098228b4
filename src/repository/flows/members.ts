/** Members as a call makes them, and what follows when one of them cannot be made. */
import type { Runner } from '../database.js';
import { createExecutions, type NewExecution } from '../executions/index.js';
import type { FlowRefusal } from './answers.js';
import type { NewJoin } from './graph.js';

export interface NewMember {
  /** Unique in its call. */
  readonly localName: string;
  readonly execution: NewExecution;
}

/** Rolls the transaction around it back; its call answers the refusal. */
export class Refusal extends Error {
  readonly verdict: FlowRefusal;
  readonly subject: string | null;

  constructor(verdict: FlowRefusal, subject: string | null) {
    super(`refused: ${verdict}`);
    this.verdict = verdict;
    this.subject = subject;
  }
}

export function idsByName(members: readonly NewMember[]): Readonly<Record<string, string>> {
  return Object.fromEntries(members.map(({ localName, execution }) => [localName, execution.id]));
}

const QUEUED = 3;

/**
 * All of them, or none: throws a Refusal. The flow's row is held by the transaction. Answers the classes that got
 * claimable work, one per execution.
 */
export async function makeMembers(
  runner: Runner,
  executions: readonly NewExecution[],
  joins: readonly NewJoin[],
): Promise<number[]> {
  if (executions.length === 0) return [];
  const waitsFor = new Map(joins.map(({ downstream, id }) => [downstream, id]));
  const answers = await createExecutions(runner, executions, { joins: waitsFor, entered: true });
  return answers.flatMap(({ verdict, execution, state }, i) => {
    if (verdict === 'closed') throw new Refusal('closed', execution);
    if (verdict !== 'created') throw new Refusal('taken', execution);
    const made = executions[i];
    return made !== undefined && state === QUEUED ? [made.class] : [];
  });
}
