/** The two ends of a step: letters are taken, and what became of them is counted, in one transaction. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const hold = statement(
  'redrives.hold',
  `select verdict, wait_ms, namespace, lane, detached, patch, actor, note, letters, versions, subjects, fates, flows, runs
   from {schema}.hold_redrive($1, $2, $3, $4)`,
);

const count = statement(
  'redrives.count',
  'select {schema}.count_redrive($1, $2::uuid[], $3::smallint[], $4::uuid[], $5)',
);

/** work: letters were taken. busy: another process works on it, or there is nothing more to be done. */
export type HoldVerdict = 'work' | 'wait' | 'ended' | 'busy';

export interface Held {
  readonly redrive: string;
  readonly verdict: HoldVerdict;
  /** Look again after so long; null when it is not for this process. */
  readonly waitMs: number | null;
  readonly namespace: number;
  readonly lane: string | null;
  readonly detached: boolean;
  /** The text of a JSON object. */
  readonly patch: string | null;
  readonly actor: string;
  readonly note: string;
  readonly taken: readonly Taken[];
}

export interface Taken {
  readonly letter: string;
  readonly version: bigint;
  /** 1: an execution, 2: an event, 3: an entry of a consumer. Null for one that is gone. */
  readonly subject: number | null;
  /** open: it is this transaction's. held: somebody else has it, or its flow. */
  readonly fate: 'open' | 'changed' | 'canceled' | 'held';
  /** That it stands in, and this transaction has. */
  readonly flow: string | null;
  /** The run whose place the new one takes. */
  readonly run: string | null;
}

interface Row extends Omit<Held, 'redrive' | 'waitMs' | 'patch' | 'taken'> {
  readonly wait_ms: number | null;
  readonly patch: Buffer | null;
  readonly letters: string[] | null;
  readonly versions: string[];
  readonly subjects: (number | null)[];
  readonly fates: Taken['fate'][];
  readonly flows: (string | null)[];
  readonly runs: (string | null)[];
}

/** `bytes`: of inputs, about. */
export async function holdRedrive(
  runner: Runner,
  redrive: string,
  process: string,
  most: number,
  bytes: number,
): Promise<Held> {
  const [row] = await runner.query<Row>(hold, [redrive, process, most, bytes]);
  if (row === undefined) throw new Error('hold_redrive answered nothing');
  const { wait_ms: waitMs, letters, versions, subjects, fates, flows, runs, patch, ...rest } = row;
  const taken = (letters ?? []).map((letter, i) => ({
    letter,
    version: BigInt(versions[i] ?? 0),
    subject: subjects[i] ?? null,
    fate: fates[i] ?? 'held',
    flow: flows[i] ?? null,
    run: runs[i] ?? null,
  }));
  return { ...rest, redrive, waitMs, patch: patch === null ? null : patch.toString(), taken };
}

export interface Done {
  readonly letter: string;
  /** later: it is taken up again in another round. */
  readonly became: 'runs' | 'passed_over' | 'later';
  /** The run that was made. */
  readonly execution: string | null;
}

const STATES = { runs: 1, passed_over: 4, later: 5 } as const;

/** Everything up to the last of them was looked at. */
export async function countRedrive(runner: Runner, redrive: string, done: readonly Done[]): Promise<void> {
  await runner.query(count, [
    redrive,
    done.map(({ letter }) => letter),
    done.map(({ became }) => STATES[became]),
    done.map(({ execution }) => execution),
    done
      .map(({ letter }) => letter)
      .sort()
      .at(-1),
  ]);
}
