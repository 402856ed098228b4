/**
 * `npm run bench`: Tailrace beside graphile-worker, pg-boss and plain SQL, on one Postgres, in one run. `--help` tells
 * the rest. Ends with 0, 1 (something failed), 2 (it was asked wrongly); a missed target is a finding, not a failure.
 */
import { StartError } from '../src/domain/start-error.js';
import { Arena } from './arena/arena.js';
import { costs } from './costs.js';
import { appends } from './measures/appends.js';
import { budgets } from './measures/budgets.js';
import { events } from './measures/events.js';
import { fairness } from './measures/fairness.js';
import { frames } from './measures/frames.js';
import { hotFlow } from './measures/hot-flow.js';
import { limits } from './measures/limits.js';
import type { Measure } from './measures/measure.js';
import { p1 } from './measures/p1-throughput.js';
import { p2 } from './measures/p2-single-calls.js';
import { p3 } from './measures/p3-latency.js';
import { p4 } from './measures/p4-claim-cost.js';
import { p6 } from './measures/p6-chains.js';
import { p6b } from './measures/p6b-wide-joins.js';
import { p6c } from './measures/p6c-slots.js';
import { p7 } from './measures/p7-cancel-rest.js';
import { p8 } from './measures/p8-waits.js';
import { p9 } from './measures/p9-delivery.js';
import { p10 } from './measures/p10-idle.js';
import { routing } from './measures/routing.js';
import { helpText, type Options, readOptions, UsageError } from './options.js';
import { report } from './report.js';
import { Recorder, type Results } from './results.js';
import { FULL, QUICK } from './scale.js';
import { store } from './store.js';

const MEASURES: readonly Measure[] = [
  ...[p1, p2, p3, p4, p6, p6b, p6c, p7, p8, p9, p10],
  ...[limits, fairness, budgets, frames, appends],
  ...[events, routing, hotFlow],
];

async function main(args: readonly string[]): Promise<void> {
  const options = readOptions(
    args,
    MEASURES.map(({ id }) => id),
  );
  if (options.help) return say(helpText(MEASURES));
  const scale = options.quick ? QUICK : FULL;
  const measures = MEASURES.filter(({ id }) => options.only?.includes(id) ?? true);
  if (options.costs) {
    const looked = options.only ? measures : [p1];
    return say(await costs(looked, scale, { directory: options.directory, progress: tell }));
  }
  const results = await run(options, measures);
  const table = report(results, measures);
  say(options.json ? JSON.stringify(results, null, 2) : table);
  if (options.quick || options.only) return;
  for (const file of await store(results, table)) tell(`written: ${file}`);
}

/** Repeats are the outer loop: what else this machine does meanwhile then hits every contestant alike. */
async function run(options: Options, measures: readonly Measure[]): Promise<Results> {
  const arena = await Arena.open({ under: options.directory });
  const stop = () => void arena.close().finally(() => process.exit(130));
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    const recorder = new Recorder();
    for (const profile of options.profiles) {
      await arena.enter(profile);
      for (let repeat = 1; repeat <= options.repeats; repeat++) {
        for (const { id, everyProfile, run: measure } of measures) {
          if (profile !== 'plain' && !everyProfile) continue;
          await measure({
            arena,
            scale: options.quick ? QUICK : FULL,
            record: (contestant, sample) => recorder.add(id, profile, contestant, sample),
            progress: (text) => tell(`${profile} ${repeat}/${options.repeats} ${id} ${text}`),
          });
        }
      }
    }
    return recorder.results(arena.version, options.repeats);
  } finally {
    await arena.close();
  }
}

const started = performance.now();

function tell(text: string): void {
  const seconds = ((performance.now() - started) / 1_000).toFixed(0).padStart(5);
  process.stderr.write(`${seconds} s  ${text}\n`);
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  const asked = error instanceof UsageError;
  const expected = asked || error instanceof StartError;
  process.stderr.write(`bench: ${expected ? (error as Error).message : ((error as Error)?.stack ?? String(error))}\n`);
  if (asked) process.stderr.write('npm run bench -- --help tells what there is\n');
  process.exitCode = asked ? 2 : 1;
}
