/** What the benchmark can be told on its command line. */
import { parseArgs } from 'node:util';
import { isProfile, PROFILES, type Profile } from './profiles.js';
import { namedScale, SCALES, type ScaleName } from './scales.js';

export interface Options {
  /** Ids of the measures; undefined means all. */
  readonly only: readonly string[] | undefined;
  readonly profiles: readonly Profile[];
  readonly repeats: number;
  readonly scale: ScaleName;
  /** Whether the results are kept in this folder. */
  readonly keep: boolean;
  readonly json: boolean;
  readonly costs: boolean;
  readonly help: boolean;
  /** Where the temporary database is made; undefined means the system's place for temporary files. */
  readonly directory: string | undefined;
}

/** Asked for what there is not; the message is for whoever typed it. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

const MOST_REPEATS = 100;

export function readOptions(args: readonly string[], measures: readonly string[]): Options {
  const { values } = parse(args);
  const scale = scaleOf(values);
  const standard = namedScale(scale);
  const all = Object.keys(PROFILES) as Profile[];
  const costs = values.costs ?? false;
  const asked = values.profile ?? (costs ? 'plain' : standard.profile);
  const repeats = Number(values.repeats ?? standard.repeats);
  const only = values.only?.split(',').map((id) => id.trim().toUpperCase()) ?? standard.measures;
  const unknown = only?.filter((id) => !measures.includes(id)) ?? [];
  if (unknown.length > 0)
    throw new UsageError(`there is no measure ${unknown.join(', ')}; there are ${measures.join(', ')}`);
  if (asked !== 'all' && !isProfile(asked)) {
    throw new UsageError(`there is no profile "${asked}"; there are ${all.join(', ')} and all`);
  }
  if (!Number.isInteger(repeats) || repeats < 1 || repeats > MOST_REPEATS) {
    throw new UsageError(`--repeats must be a whole number from 1 to ${MOST_REPEATS}`);
  }
  if (values.keep && (!standard.lasting || costs)) {
    throw new UsageError(`--keep is for results of the whole load; leave out --${costs ? 'costs' : scale}`);
  }
  return {
    only,
    profiles: asked === 'all' ? all : [asked],
    repeats,
    scale,
    keep: values.keep ?? (standard.lasting && only === undefined && !costs),
    json: values.json ?? false,
    costs,
    help: values.help ?? false,
    directory: values.directory,
  };
}

/** Those that have an option of their own; without one of them it is the full one. */
const ASKED_FOR = ['quick', 'short', 'deep'] as const satisfies readonly ScaleName[];

function scaleOf(values: Readonly<Partial<Record<(typeof ASKED_FOR)[number], boolean | undefined>>>): ScaleName {
  const [scale = 'full', ...more] = ASKED_FOR.filter((name) => values[name]);
  if (more.length > 0) throw new UsageError(`choose one of ${ASKED_FOR.map((name) => `--${name}`).join(', ')}`);
  return scale;
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        only: { type: 'string' },
        profile: { type: 'string' },
        repeats: { type: 'string' },
        quick: { type: 'boolean' },
        short: { type: 'boolean' },
        deep: { type: 'boolean' },
        keep: { type: 'boolean' },
        json: { type: 'boolean' },
        costs: { type: 'boolean' },
        directory: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

export function helpText(measures: readonly { readonly id: string; readonly title: string }[]): string {
  const list = (entries: readonly (readonly [string, string])[]) =>
    entries.map(([name, about]) => `  ${name.padEnd(15)} ${about}`).join('\n');
  return `Tailrace's benchmark: this engine, graphile-worker, pg-boss and plain SQL on one Postgres, in one run.

usage: npm run bench -- [options]

It starts a Postgres of its own with fsync on, in a temporary directory, and removes it. A whole run takes some
hours of a quiet machine, and up to 50 GB of its disk. Ratios within one run mean something; times of two machines do not
compare. The table goes to standard output, progress to standard error. What a run of all measures with the full load
found is kept in bench/README.md and bench/results.

options
  --only P1,P3      these measures only
  --profile NAME    ${Object.keys(PROFILES).join(', ')} or all (default; with --quick, --short and --costs: plain)
  --repeats N       how often everything is measured (default 3, with --quick 1), but for what takes very long;
                    shown are median, least and most
  --quick           ${SCALES.quick.about}
  --short           ${SCALES.short.about}
  --deep            ${SCALES.deep.about}
  --keep            keep what --only measured: it replaces what was kept of these measures and profiles, and nothing else
  --costs           where Tailrace's time goes in P1, or with --only in P3, P6, P6B, P7, P8, P9, P13, LIMITS, BUDGETS, FRAMES,
                    APPENDS, EVENTS, ROUTING, HOT-FLOW and CONSUMERS: its statements, also those inside functions, and its server's CPU
  --json            the results as JSON instead of the table
  --directory PATH  where the temporary database lies, whose disk is the one measured (default: the system's)
  -h, --help        this text

measures
${list(measures.map(({ id, title }) => [id, title]))}

profiles
${list(Object.entries(PROFILES))}
`;
}
