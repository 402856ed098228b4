/**
 * `npm run bench`: Tailrace beside graphile-worker, pg-boss and plain SQL, on one Postgres, in one run. `--help` tells
 * the rest. Ends with 0, 1 (something failed, be it one measure of many), 2 (it was asked wrongly); a missed target is a
 * finding, not a failure.
 */
import { StartError } from '../src/domain/start-error.js';
import { Arena } from './arena/arena.js';
import { measuredCommit } from './commit.js';
import { costs } from './costs.js';
import { appends } from './measures/appends.js';
import { batches } from './measures/batches.js';
import { budgets } from './measures/budgets.js';
import { consumers } from './measures/consumers.js';
import { desk } from './measures/desk.js';
import { events } from './measures/events.js';
import { fairness } from './measures/fairness.js';
import { frames } from './measures/frames.js';
import { hotFlow } from './measures/hot-flow.js';
import { lag } from './measures/lag.js';
import { limits } from './measures/limits.js';
import { loaded } from './measures/loaded.js';
import type { Measure, Sample } from './measures/measure.js';
import { p1 } from './measures/p1-throughput.js';
import { p2 } from './measures/p2-single-calls.js';
import { p3 } from './measures/p3-latency.js';
import { p4 } from './measures/p4-claim-cost.js';
import { p5 } from './measures/p5-held-snapshot.js';
import { p6 } from './measures/p6-chains.js';
import { p6b } from './measures/p6b-wide-joins.js';
import { p6c } from './measures/p6c-slots.js';
import { p7 } from './measures/p7-cancel-rest.js';
import { p8 } from './measures/p8-waits.js';
import { p9 } from './measures/p9-delivery.js';
import { p10 } from './measures/p10-idle.js';
import { p11 } from './measures/p11-wal.js';
import { p12 } from './measures/p12-two-servers.js';
import { p13 } from './measures/p13-capabilities.js';
import { p14 } from './measures/p14-renewals.js';
import { payloads } from './measures/payloads.js';
import { redrive } from './measures/redrive.js';
import { routing } from './measures/routing.js';
import { soak } from './measures/soak.js';
import { watchers } from './measures/watchers.js';
import { helpText, type Options, readOptions, UsageError } from './options.js';
import type { Profile } from './profiles.js';
import { report } from './report.js';
import { partName, Recorder, type Results } from './results.js';
import { namedScale } from './scales.js';
import { store } from './store.js';

const MEASURES: readonly Measure[] = [
  ...[p1, p2, p3, p4, p5, p6, p6b, p6c, p7, p8, p9, p10, p11, p12, p13, p14],
  ...[loaded, batches, payloads, watchers, lag, soak],
  ...[limits, fairness, budgets, frames, appends],
  ...[events, routing, hotFlow],
  ...[consumers, desk, redrive],
];

async function main(args: readonly string[]): Promise<void> {
  const options = readOptions(
    args,
    MEASURES.map(({ id }) => id),
  );
  if (options.help) return say(helpText(MEASURES));
  const { scale } = namedScale(options.scale);
  const measures = MEASURES.filter(({ id }) => options.only?.includes(id) ?? true);
  if (options.costs) {
    const looked = options.only ? measures : [p1];
    return say(await costs(looked, scale, { ...options, progress: tell }));
  }
  const results = await run(options, measures);
  say(options.json ? JSON.stringify(results, null, 2) : report(results, measures));
  if (!options.keep) return;
  for (const file of await store(results, MEASURES)) tell(`written: ${file}`);
}

/** A measure that fails is left out from then on under this profile: the hours that the others take are not lost. */
async function run(options: Options, measures: readonly Measure[]): Promise<Results> {
  const { directory: under, repeats, scale: name } = options;
  const { scale } = namedScale(name);
  const commit = await measuredCommit();
  const arena = await Arena.open({ under });
  let stopped = false;
  const stop = () => {
    stopped = true;
    void arena.close().finally(() => process.exit(130));
  };
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    const recorder = new Recorder();
    const failed = new Set<string>();
    for (const profile of options.profiles) {
      await arena.enter(profile);
      for (const { repeat, measure } of turns(measures, profile, repeats)) {
        const { id, run: measureOnce } = measure;
        const part = partName(id, profile);
        if (failed.has(part)) continue;
        const progress = (text: string) => tell(`${profile} ${repeat}/${repeats} ${id} ${text}`);
        const record = (contestant: string, sample: Sample) => recorder.add(id, profile, contestant, sample);
        try {
          await measureOnce({ arena, scale, record, progress });
        } catch (error) {
          if (stopped) throw error;
          failed.add(part);
          process.exitCode = 1;
          progress(`failed, and is left out: ${(error as Error)?.stack ?? String(error)}`);
        }
      }
    }
    return recorder.results({ postgres: arena.version, commit, scale: name, repeats }, failed);
  } finally {
    await arena.close();
  }
}

/** Repeats are the outer loop: what else this machine does meanwhile then hits every contestant alike. */
function* turns(measures: readonly Measure[], profile: Profile, repeats: number) {
  for (let repeat = 1; repeat <= repeats; repeat++) {
    for (const measure of measures) {
      const { everyProfile, once } = measure;
      if ((profile === 'plain' || everyProfile) && (repeat === 1 || !once)) yield { repeat, measure };
    }
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

// What is sent at a rate is awaited after the last of it, and throws then; until then nobody looks at what was refused.
const refusals = new Set<string>();
process.on('unhandledRejection', (error) => {
  const text = String(error);
  if (!refusals.has(text)) tell(text);
  refusals.add(text);
});

try {
  await main(process.argv.slice(2));
} catch (error) {
  const asked = error instanceof UsageError;
  const expected = asked || error instanceof StartError;
  process.stderr.write(`bench: ${expected ? (error as Error).message : ((error as Error)?.stack ?? String(error))}\n`);
  if (asked) process.stderr.write('npm run bench -- --help tells what there is\n');
  process.exitCode = asked ? 2 : 1;
}
