/**
 * A step of a bulk redrive: what has ended is counted, and as many letters as its rate permits are run again, in one
 * transaction. A crash anywhere leaves the step undone; whoever works on it next takes the same letters.
 *
 * Where one of several meets others on its rows, each is tried alone, and the one that still does is left for another round.
 * One that fails for a reason of its own is passed over, and stays open.
 */
import { EngineError } from '../../domain/errors.js';
import type { Database } from '../database.js';
import { countRedrive, type Done, type Held, type HoldVerdict, holdRedrive, type Taken } from './hold.js';
import { type RunOptions, runExecutions } from './run-executions.js';
import { runOthers } from './run-others.js';

export interface StepOptions extends RunOptions {
  /** Names the process that works, in all its steps. */
  readonly process: string;
  /** A letter was passed over for this. */
  readonly onRefused: (letter: string, error: unknown) => void;
}

/** What is to be told after the commit. */
export interface RedriveStep {
  readonly verdict: HoldVerdict;
  readonly waitMs: number | null;
  /** Executions made, those behind them included. */
  readonly made: number;
  /** Classes that got claimable work, one per execution. */
  readonly woken: readonly number[];
  readonly follows: boolean;
  /** Events are to be routed; entries are to be offered. */
  readonly routes: boolean;
  readonly offers: boolean;
}

const MOST = 1_000;
const BYTES = 4 * 2 ** 20;

const SUBJECTS = { execution: 1, event: 2, entry: 3 } as const;

export async function stepRedrive(database: Database, redrive: string, options: StepOptions): Promise<RedriveStep> {
  const tried: string[] = [];
  try {
    return await attempt(database, redrive, options, MOST, tried);
  } catch (error) {
    if (tried.length === 0 || isAway(error)) throw error;
    if (tried.length === 1) return await passOver(database, redrive, tried, error, options);
  }
  const steps: RedriveStep[] = [];
  for (const _ of [...tried]) {
    try {
      steps.push(await attempt(database, redrive, options, 1, tried));
    } catch (error) {
      if (tried.length === 0 || isAway(error)) throw error;
      steps.push(await passOver(database, redrive, tried, error, options));
    }
  }
  return together(steps);
}

/** `tried` holds the letters that were taken, also when it throws. */
async function attempt(
  database: Database,
  redrive: string,
  options: StepOptions,
  most: number,
  tried: string[],
): Promise<RedriveStep> {
  return await database.transaction(async (runner): Promise<RedriveStep> => {
    tried.length = 0;
    const held = await holdRedrive(runner, redrive, options.process, most, BYTES);
    if (held.verdict !== 'work') return nothing(held);
    tried.push(...held.taken.map(({ letter }) => letter));
    const open = held.taken.filter(({ fate }) => fate === 'open');
    const of = (subject: number) => open.filter((taken) => taken.subject === subject);
    const ran = await runExecutions(runner, held, of(SUBJECTS.execution), options);
    const events = await runOthers(runner, held, of(SUBJECTS.event), 'events');
    const entries = await runOthers(runner, held, of(SUBJECTS.entry), 'entries');
    const rest = held.taken.filter(({ fate }) => fate !== 'open').map(untaken);
    await countRedrive(runner, redrive, [...ran.done, ...events, ...entries, ...rest]);
    return {
      ...nothing(held),
      made: ran.made,
      woken: ran.woken,
      follows: ran.follows,
      routes: events.some(({ became }) => became === 'runs'),
      offers: entries.some(({ became }) => became === 'runs'),
    };
  });
}

function untaken({ letter, fate }: Taken): Done {
  return { letter, became: fate === 'held' ? 'later' : 'passed_over', execution: null };
}

async function passOver(
  database: Database,
  redrive: string,
  letters: readonly string[],
  error: unknown,
  { onRefused }: StepOptions,
): Promise<RedriveStep> {
  const became = error instanceof EngineError ? 'later' : 'passed_over';
  await countRedrive(
    database,
    redrive,
    letters.map((letter) => ({ letter, became, execution: null })),
  );
  if (became === 'passed_over') for (const letter of letters) onRefused(letter, error);
  return { ...NOTHING, waitMs: RETRY_MS };
}

function isAway(error: unknown): boolean {
  return error instanceof EngineError && error.reason !== 'CONTENTION';
}

const RETRY_MS = 50;

const NOTHING: RedriveStep = {
  verdict: 'work',
  waitMs: null,
  made: 0,
  woken: [],
  follows: false,
  routes: false,
  offers: false,
};

function nothing({ verdict, waitMs }: Held): RedriveStep {
  return { ...NOTHING, verdict, waitMs };
}

function together(steps: readonly RedriveStep[]): RedriveStep {
  const last = steps.at(-1) ?? NOTHING;
  return {
    verdict: last.verdict,
    waitMs: last.waitMs,
    made: steps.reduce((sum, { made }) => sum + made, 0),
    woken: steps.flatMap(({ woken }) => woken),
    follows: steps.some(({ follows }) => follows),
    routes: steps.some(({ routes }) => routes),
    offers: steps.some(({ offers }) => offers),
  };
}
