/**
 * Runs given-up work again: a new execution, linked both ways with the letter, in one transaction with the letter's step
 * to REDRIVING. Of two at once the second waits for the letter's row and finds it taken.
 *
 * Of a flow's member the new run takes the old one's place, and what was SKIPPED because of it is made anew with it.
 *
 * Lock order: flow, letter, request key, then nothing. Whoever else locks letters (settle_letters, resolve_letters) waits
 * for nothing under them, so no cycle can form. A crash before the commit leaves the letter open and nothing made.
 */
import type { Content } from '../bytes.js';
import type { Database, Runner } from '../database.js';
import { createExecutions } from '../executions/index.js';
import { internClasses } from '../registry/index.js';
import { statement } from '../statement.js';
import { editedInput } from './edited-input.js';
import { classesOf, readOriginals, toExecution } from './original.js';

const lock = statement(
  'dead-letters.lock',
  `select d.state::int as state, d.version, d.last_execution from {schema}.dead_letter d
   where d.id = $2::uuid and d.namespace = $1::int for update`,
);

const holdFlow = statement('dead-letters.hold-flow', 'select verdict from {schema}.hold_flow($1, $2)');

/** The last run that was a member: a detached one in between has no place in the graph. */
const readMember = statement(
  'dead-letters.last-member',
  'select e.id from {schema}.execution e where e.letter = $1::uuid and e.flow = $2::uuid order by e.id desc limit 1',
);

const redoSkipped = statement(
  'dead-letters.redo-skipped',
  'select made, woken, follows from {schema}.redo_skipped($1, $2, $3, $4)',
);

/** What an earlier redrive made anew behind its run. */
const readRedone = statement(
  'dead-letters.redone',
  `with recursive behind as (
     select s.downstream as id from {schema}.slot s where s.upstream = $1::uuid and s.is_edge
     union
     select s.downstream from behind b join {schema}.slot s on s.upstream = b.id and s.is_edge)
   select b.id from behind b
   cross join lateral (select x.redrive_of from {schema}.execution x where x.id = b.id offset 0) e
   where e.redrive_of is not null order by b.id limit 1000`,
);

const readKey = statement(
  'dead-letters.request-key',
  'select k.execution, k.hash from {schema}.request_key k where k.namespace = $1::int and k.request_id = $2::text',
);

const markRedriving = statement(
  'dead-letters.mark-redriving',
  `with moved as (
     update {schema}.dead_letter d set state = 2, redrives = d.redrives + 1, last_redrive_at = clock_timestamp(),
       last_execution = $2::uuid, edited_type = $3::text, edited = $4::bytea, actor = $5::text, note = $6::text,
       version = d.version + 1
     where d.id = $1::uuid returning d)
   select {schema}.log_letters(71::smallint, array[moved.d],
     jsonb_build_object('redrive', $2::uuid, 'actor', $5::text, 'reason', $6::text)) from moved`,
);

export interface Redrive {
  readonly namespace: number;
  readonly letter: string;
  /** Of the execution to make: UUIDv7. */
  readonly id: string;
  readonly requestId: string | null;
  /** Of what was asked for. */
  readonly hash: Buffer;
  /** 0: any. */
  readonly expectedVersion: bigint;
  /** Null: the original. */
  readonly input: Content | null;
  /** In its place: a change of the original, and how large the result may be. */
  readonly edit: { readonly patch: string; readonly mostBytes: number } | null;
  readonly lane: string | null;
  readonly runAt: Date | null;
  /** Outside of the flow, and nothing else is made anew. */
  readonly detached: boolean;
  readonly actor: string;
  readonly note: string;
}

export type RedriveAnswer =
  | Redriven
  | { readonly verdict: 'conflict'; readonly version: bigint }
  | { readonly verdict: 'wrong_state'; readonly state: number }
  | { readonly verdict: 'reused'; readonly execution: string }
  /**
   * closed: the lane takes no new work. not_execution: an event or an entry was given up. canceled: its flow is, and only a
   * detached redrive is possible. not_json, too_large: the original cannot be patched, or not so.
   */
  | { readonly verdict: 'not_found' | 'closed' | 'canceled' | 'not_json' | 'too_large' }
  | { readonly verdict: 'not_execution' };

export interface Redriven {
  /** duplicate: an earlier call with this request id had done it. */
  readonly verdict: 'redriven' | 'duplicate';
  readonly execution: string;
  /** Executions made anew because they had been skipped; the first thousand. */
  readonly downstreams: readonly string[];
  /** Classes that got claimable work. */
  readonly woken: readonly number[];
  /** Something is left to be done after the commit (SweepSubject followUps). */
  readonly follows: boolean;
}

const OPEN = 1;
const BLOCKED = 1;
const QUEUED = 3;

export async function redriveDeadLetter(database: Database, asked: Redrive): Promise<RedriveAnswer> {
  const [original] = await readOriginals(database, asked.namespace, [asked.letter]);
  if (original === undefined) return { verdict: 'not_found' };
  const root = original.execution;
  if (root === null) return { verdict: 'not_execution' };
  const input = asked.edit === null ? asked.input : editedInput(original, asked.edit);
  const intern = (keys: Parameters<typeof internClasses>[1]) => internClasses(database, keys);
  const [classId = 0] = await classesOf(intern, asked.namespace, asked.lane, [original]);
  const flow = asked.detached ? null : original.flow;
  return await database.transaction(async (runner): Promise<RedriveAnswer> => {
    const held = flow === null ? undefined : await holdFlowRow(runner, asked.namespace, flow);
    const [letter] = await runner.query<{ state: number; version: bigint; last_execution: string | null }>(lock, [
      asked.namespace,
      asked.letter,
    ]);
    if (letter === undefined) return { verdict: 'not_found' };
    const before = await earlier(runner, asked);
    if (before !== undefined) return before;
    if (asked.expectedVersion !== 0n && asked.expectedVersion !== letter.version) {
      return { verdict: 'conflict', version: letter.version };
    }
    if (letter.state !== OPEN) return { verdict: 'wrong_state', state: letter.state };
    if (held === 'canceled') return { verdict: 'canceled' };
    if (typeof input === 'string') return { verdict: input };
    const [member] = held === 'held' ? await runner.query<{ id: string }>(readMember, [asked.letter, flow]) : [];
    // In a flow it takes the place of the last run that had one there.
    const of = held === 'held' ? (member?.id ?? root) : (letter.last_execution ?? root);
    const [made] = await createExecutions(
      runner,
      [
        toExecution(
          {
            ...asked,
            class: classId,
            redrive: { letter: asked.letter, root, of },
            flow: held === 'held' && flow !== null ? { id: flow, optional: original.optional ?? false } : null,
            parent: held === 'held' ? original.parent : null,
          },
          original,
          input,
        ),
      ],
      { entered: true },
    );
    if (made === undefined) throw new Error('create_executions answered nothing');
    const { verdict, execution } = made;
    if (verdict === 'closed') return { verdict };
    if (verdict === 'duplicate') return { verdict, execution, ...(await redoneBy(runner, execution)) };
    if (verdict !== 'created') return { verdict: 'reused', execution };
    const { actor, note } = asked;
    await runner.query(markRedriving, [asked.letter, execution, input?.type ?? null, input?.body ?? null, actor, note]);
    const woken = made.state === QUEUED ? [classId] : [];
    // Its key may have been somebody else's at that moment.
    const waits = made.state === BLOCKED;
    if (held !== 'held') return { verdict: 'redriven', execution, downstreams: [], woken, follows: waits };
    const [redone] = await runner.query<{ made: string[]; woken: number[] | null; follows: boolean }>(redoSkipped, [
      asked.namespace,
      flow,
      of,
      execution,
    ]);
    return {
      verdict: 'redriven',
      execution,
      downstreams: redone?.made.slice(0, DOWNSTREAMS_SHOWN) ?? [],
      woken: [...woken, ...(redone?.woken ?? [])],
      follows: waits || (redone?.follows ?? false),
    };
  });
}

const DOWNSTREAMS_SHOWN = 1_000;

/** missing: it is kept no longer, so the run stands outside of any. */
async function holdFlowRow(
  runner: Runner,
  namespace: number,
  flow: string,
): Promise<'held' | 'canceled' | 'missing' | undefined> {
  const [row] = await runner.query<{ verdict: 'held' | 'canceled' | 'missing' }>(holdFlow, [namespace, flow]);
  return row?.verdict;
}

async function redoneBy(
  runner: Runner,
  execution: string,
): Promise<Pick<Redriven, 'downstreams' | 'woken' | 'follows'>> {
  const rows = await runner.query<{ id: string }>(readRedone, [execution]);
  return { downstreams: rows.map(({ id }) => id), woken: [], follows: false };
}

/** What an earlier call under the same request id did. Read under the letter's lock, so a repeat at once sees it. */
async function earlier(runner: Runner, asked: Redrive): Promise<RedriveAnswer | undefined> {
  if (asked.requestId === null) return undefined;
  const [key] = await runner.query<{ execution: string; hash: Buffer }>(readKey, [asked.namespace, asked.requestId]);
  if (key === undefined) return undefined;
  if (!key.hash.equals(asked.hash)) return { verdict: 'reused', execution: key.execution };
  return { verdict: 'duplicate', execution: key.execution, ...(await redoneBy(runner, key.execution)) };
}
