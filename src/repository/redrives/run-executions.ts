/**
 * Runs given-up executions again, many in one go, as redriveDeadLetter does for one. The caller holds their letters, and the
 * flows that they stand in.
 */
import { uuidV7 } from '../../runtime/random.js';
import { type Content, packContents } from '../bytes.js';
import type { Runner } from '../database.js';
import { editedInput } from '../dead-letters/edited-input.js';
import { classesOf, type Original, readOriginals, toExecution } from '../dead-letters/original.js';
import { createExecutions, type NewExecution } from '../executions/index.js';
import { readPayloadBytes } from '../namespaces/index.js';
import type { ClassKey } from '../registry/index.js';
import { statement } from '../statement.js';
import type { Done, Held, Taken } from './hold.js';

const mark = statement(
  'redrives.mark',
  'select {schema}.mark_redriving($1, $2::uuid[], $3::uuid[], $4::text[], $5::int[], $6::int[], $7, $8, $9)',
);

const redo = statement(
  'redrives.redo-skipped',
  `select r.woken, r.follows, cardinality(r.made) as made
   from unnest($2::uuid[], $3::uuid[], $4::uuid[]) u (flow, old, new)
   cross join lateral {schema}.redo_skipped($1::int, u.flow, u.old, u.new) r`,
);

export interface RunOptions {
  /** Answers ids of classes, in the order of their keys. */
  readonly intern: (keys: readonly ClassKey[]) => Promise<readonly { readonly id: number }[]>;
  /** Largest input. */
  readonly mostBytes: number;
}

export interface Ran {
  readonly done: readonly Done[];
  /** Executions made, those behind them included. */
  readonly made: number;
  /** Classes that got claimable work, one per execution. */
  readonly woken: readonly number[];
  /** Something is left to be done after the commit (SweepSubject followUps). */
  readonly follows: boolean;
}

interface Made {
  readonly taken: Taken;
  readonly spec: NewExecution;
  readonly edited: Content | null;
}

const BLOCKED = 1;
const QUEUED = 3;
const LEAST_PRIORITY = -1_000;

export async function runExecutions(
  runner: Runner,
  held: Held,
  letters: readonly Taken[],
  { intern, mostBytes }: RunOptions,
): Promise<Ran> {
  const wanted = await specsOf(runner, held, letters, { intern, mostBytes });
  const specs = wanted.map(({ spec }) => spec);
  const answers = specs.length === 0 ? [] : await createExecutions(runner, specs, { entered: true });
  const made = wanted.filter((_, i) => answers[i]?.verdict === 'created');
  await markAll(runner, held, made);
  const redone = await redoAll(runner, held, made);
  const states = answers.filter(({ verdict }) => verdict === 'created').map(({ state }) => state);
  const runs = new Map(made.map(({ taken, spec }) => [taken.letter, spec.id]));
  return {
    done: letters.map(({ letter }) => {
      const execution = runs.get(letter) ?? null;
      return { letter, became: execution === null ? 'passed_over' : 'runs', execution };
    }),
    made: made.length + redone.made,
    woken: [...made.filter((_, i) => states[i] === QUEUED).map(({ spec }) => spec.class), ...redone.woken],
    // The key of one may have been somebody else's at that moment.
    follows: redone.follows || states.includes(BLOCKED),
  };
}

async function specsOf(runner: Runner, held: Held, letters: readonly Taken[], options: RunOptions): Promise<Made[]> {
  const { namespace, patch, lane } = held;
  const originals = new Map<string, Original>();
  const ids = letters.map(({ letter }) => letter);
  for (const original of await readOriginals(runner, namespace, ids)) originals.set(original.letter, original);
  const mostBytes = patch === null ? 0 : await readPayloadBytes(runner, namespace, options.mostBytes);
  const wanted = letters.flatMap((taken) => {
    const original = originals.get(taken.letter);
    if (original === undefined || original.execution === null || taken.run === null) return [];
    const edited = patch === null ? null : editedInput(original, { patch, mostBytes });
    return typeof edited === 'string' ? [] : [{ taken, original, root: original.execution, run: taken.run, edited }];
  });
  const classes = await classesOf(
    options.intern,
    namespace,
    lane,
    wanted.map(({ original }) => original),
  );
  return wanted.map(({ taken, original, root, run, edited }, i) => {
    const { flow, letter } = taken;
    const placed = {
      id: uuidV7(),
      namespace,
      class: classes[i] ?? 0,
      requestId: null,
      hash: NOTHING,
      runAt: null,
      redrive: { letter, root, of: run },
      flow: flow === null ? null : { id: flow, optional: original.optional ?? false },
      parent: flow === null ? null : original.parent,
    };
    const spec = toExecution(placed, original, edited);
    // Behind live work of its priority: nobody waits for it as for that.
    return { taken, edited, spec: { ...spec, priority: Math.max(LEAST_PRIORITY, spec.priority - 1) } };
  });
}

const NOTHING = Buffer.alloc(0);

async function markAll(runner: Runner, held: Held, made: readonly Made[]): Promise<void> {
  if (made.length === 0) return;
  const edited = packContents(made.map((one) => one.edited));
  await runner.query(mark, [
    held.redrive,
    made.map(({ taken }) => taken.letter),
    made.map(({ spec }) => spec.id),
    edited.types,
    edited.positions,
    edited.lengths,
    edited.bytes,
    held.actor,
    held.note,
  ]);
}

/** What was SKIPPED because of members is made anew with them. */
async function redoAll(
  runner: Runner,
  { namespace }: Held,
  made: readonly Made[],
): Promise<{ woken: number[]; follows: boolean; made: number }> {
  const members = made.filter(({ taken }) => taken.flow !== null);
  if (members.length === 0) return { woken: [], follows: false, made: 0 };
  const rows = await runner.query<{ woken: number[] | null; follows: boolean; made: number }>(redo, [
    namespace,
    members.map(({ taken }) => taken.flow),
    members.map(({ taken }) => taken.run),
    members.map(({ spec }) => spec.id),
  ]);
  return {
    woken: rows.flatMap((row) => row.woken ?? []),
    follows: rows.some((row) => row.follows),
    made: rows.reduce((sum, row) => sum + row.made, 0),
  };
}
