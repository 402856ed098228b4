/**
 * Children of a running execution: made with its completion, or waited for. The parent's lease is held from the first
 * statement to the commit; children are made once, because a lease is given up once.
 */
import type { Database, Runner } from '../database.js';
import type { NewExecution } from '../executions/index.js';
import { areRefusedFrames, type FrameLimits, type RefusedFrames } from '../frames/index.js';
import {
  completeAndClaimWithEvents,
  completeAndClaimWithFrames,
  type EndAnswer,
  type Ending,
  endAttempts,
  isRefused,
  isRefusedEmission,
  type LeaseRef,
  type Refused,
  type RefusedEmission,
} from '../leases/index.js';
import { statement } from '../statement.js';
import type { Consequences } from './answers.js';
import { joinParameters, type NewJoin } from './graph.js';
import { makeMembers, Refusal } from './members.js';

const hold = statement(
  'flows.hold-parent',
  'select verdict, flow, barrier, children, hops from {schema}.hold_parent($1, $2, $3, $4, $5, $6, $7)',
);

const explain = statement(
  'flows.explain-parent',
  'select verdict, state, attempt, token from {schema}.explain_holder($1, $2, $3, $4)',
);

const park = statement(
  'flows.park',
  `select woken, follows from {schema}.park($1, $2, $3::smallint, $4, $5::jsonb, $6::uuid[], $7::int[], $8::uuid[], $9::uuid[], $10::text[],
     $11::boolean[], $12::text[])`,
);

/** The last it made, after those it waited for before; ids rise in the order in which they were asked for. */
const readChildren = statement(
  'flows.children',
  `select c.id from (
     select e.id from {schema}.execution e where e.parent = $1::uuid order by e.id desc limit $2) c
   order by c.id`,
);

/** cancel_requested: the parent is to stop. canceled: its flow is. full: the flow has as many members as it may. */
export interface RefusedChildren {
  readonly verdict: 'cancel_requested' | 'closed' | 'canceled' | 'full';
}

const REFUSALS: readonly string[] = ['cancel_requested', 'closed', 'canceled', 'full'];

export function areRefusedChildren(answer: { readonly verdict: string }): answer is RefusedChildren {
  return REFUSALS.includes(answer.verdict);
}

export interface Spawning extends LeaseRef {
  /** Of what was asked for. */
  readonly hash: Buffer;
  readonly children: readonly NewExecution[];
  /** Its downstream is the parent, its slots stand in the order of the children. */
  readonly join: NewJoin;
  readonly limits: { readonly members: number };
}

export interface Spawned extends Consequences {
  /** duplicate: parked by an earlier call with this content. */
  readonly verdict: 'waiting' | 'duplicate';
  readonly join: string;
  readonly children: readonly string[];
}

interface Held {
  readonly verdict: 'held' | 'duplicate' | 'cancel_requested' | 'canceled' | 'full' | 'refused';
  readonly flow: string | null;
  readonly barrier: string | null;
  readonly children: readonly string[];
  /** Of the parent. */
  readonly hops: number | null;
}

/** Call numbers in `parked` and `attempt`, beside those of EndCall. */
const WAIT_FOR_CHILDREN = 5;
const COMPLETE = 1;

/** Parks the attempt until the join of its children decides. */
export async function waitForChildren(
  database: Database,
  asked: Spawning,
): Promise<Spawned | Refused | RefusedChildren> {
  return await rolledBack(() =>
    database.transaction(async (runner) => {
      const held = await holdParent(runner, asked, asked.hash, asked.children.length, asked.limits.members);
      if (held.verdict === 'duplicate') {
        return { verdict: 'duplicate', join: held.barrier ?? '', children: held.children, woken: [], follows: false };
      }
      if (held.verdict === 'refused') return await refusalOf(runner, asked);
      if (held.verdict !== 'held') return { verdict: held.verdict };
      const children = inFlow(asked.children, held);
      const woken = await makeMembers(runner, children, []);
      const [gaveUp] = await runner.query<{ woken: number[] | null; follows: boolean }>(park, [
        asked.namespace,
        asked.execution,
        WAIT_FOR_CHILDREN,
        asked.hash,
        ...joinParameters([asked.join]),
      ]);
      return {
        verdict: 'waiting',
        join: asked.join.id,
        children: children.map(({ id }) => id),
        // Its concurrency key has a slot again, which may be a child's.
        woken: [...woken, ...(gaveUp?.woken ?? [])],
        follows: gaveUp?.follows ?? false,
      };
    }),
  );
}

export type CompletedParent = EndAnswer & {
  /** In the order in which they were asked for. */
  readonly children?: readonly string[];
  /** Classes of children that are claimable, beside those the end released. */
  readonly made?: readonly number[];
};

export interface CompletionLimits {
  /** Members of one flow. */
  readonly members: number;
  readonly frames: FrameLimits;
}

/** Completes in a transaction of its own, and makes children in it, if there are any. They are not waited for. */
export async function completeWithChildren(
  database: Database,
  ending: Ending,
  asked: readonly NewExecution[],
  limits: CompletionLimits,
): Promise<CompletedParent | RefusedChildren | RefusedCompletion> {
  const completing = rolledBack(() =>
    database.transaction(async (runner): Promise<CompletedParent | RefusedChildren | RefusedCompletion> => {
      const held = await holdParent(runner, ending, ending.hash, asked.length, limits.members);
      if (asked.length > 0 && (held.verdict === 'canceled' || held.verdict === 'full'))
        return { verdict: held.verdict };
      // One that is asked to stop may complete late, unless the end itself is refused then.
      if (held.verdict === 'held' || held.verdict === 'cancel_requested') {
        const children = inFlow(asked, held);
        const made = await makeMembers(runner, children, []);
        const answer = await complete(runner, ending, limits.frames);
        if (isRefusedCompletion(answer)) throw new Rejected(answer);
        return { ...answer, children: children.map(({ id }) => id), made };
      }
      const answer = await complete(runner, ending, limits.frames);
      if (isRefusedCompletion(answer)) return answer;
      const children = await runner.query<{ id: string }>(readChildren, [ending.execution, asked.length]);
      return { ...answer, children: children.map(({ id }) => id) };
    }),
  );
  return await completing.catch((error: unknown) => {
    if (error instanceof Rejected) return error.answer;
    throw error;
  });
}

type RefusedCompletion = Refused | RefusedFrames | RefusedEmission;

function isRefusedCompletion(answer: EndAnswer | RefusedCompletion): answer is RefusedCompletion {
  return isRefused(answer) || areRefusedFrames(answer) || isRefusedEmission(answer);
}

async function complete(runner: Runner, ending: Ending, limits: FrameLimits): Promise<EndAnswer | RefusedCompletion> {
  const [answer] = await endWith(runner, ending, limits);
  if (answer === undefined) throw new Error('end_attempts answered nothing');
  return answer;
}

async function endWith(
  runner: Runner,
  ending: Ending,
  limits: FrameLimits,
): Promise<(EndAnswer | RefusedCompletion)[]> {
  const items = [{ ...ending, taker: null }];
  if (ending.events && ending.events.length > 0)
    return (await completeAndClaimWithEvents(runner, items, limits)).answers;
  if (ending.frames && ending.frames.length > 0)
    return (await completeAndClaimWithFrames(runner, items, limits)).answers;
  return await endAttempts(runner, COMPLETE, items);
}

async function holdParent(
  runner: Runner,
  parent: LeaseRef,
  hash: Buffer,
  more: number,
  maxMembers: number,
): Promise<Held> {
  const [held] = await runner.query<Held>(hold, [
    parent.namespace,
    parent.execution,
    parent.lease,
    parent.token,
    hash,
    more,
    maxMembers,
  ]);
  if (held === undefined) throw new Error('hold_parent answered nothing');
  return held;
}

/** hold_parent has looked for an earlier call already: what is left is why there is no lease. */
async function refusalOf(runner: Runner, parent: LeaseRef): Promise<Refused> {
  const { namespace, execution, lease, token } = parent;
  const [refused] = await runner.query<Refused>(explain, [namespace, execution, lease, token]);
  if (refused === undefined) throw new Error('explain_holder answered nothing');
  return refused;
}

/** A child joins its parent's flow, if it has one, and counts its hops. */
function inFlow(children: readonly NewExecution[], { flow, hops }: Held): NewExecution[] {
  return children.map((child) => ({
    ...child,
    hops: hops || null,
    flow: flow === null ? null : { id: flow, optional: child.flow?.optional ?? false },
  }));
}

/** The end itself was refused after children had been made. */
class Rejected extends Error {
  readonly answer: RefusedCompletion;

  constructor(answer: RefusedCompletion) {
    super(`refused: ${answer.verdict}`);
    this.answer = answer;
  }
}

async function rolledBack<T>(change: () => Promise<T>): Promise<T | RefusedChildren> {
  try {
    return await change();
  } catch (error) {
    if (error instanceof Refusal && error.verdict === 'closed') return { verdict: 'closed' };
    throw error;
  }
}
