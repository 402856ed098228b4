/**
 * The quickstart: a server, two worker processes and this client, which makes a flow of every Markdown file under a
 * folder and a report over all of them, kills one worker half way, prints the report, and proves that nothing was lost
 * and nothing counted twice.
 *
 * Ends with 0, 1 (something is wrong, and said), or 130 (interrupted). Whatever it started, it stops.
 */
import { randomBytes } from 'node:crypto';
import { Client, Content } from '../../src/client/index.js';
import { monotonicMs } from '../../src/runtime/clock.js';
import { HELP, readArguments } from './arguments.js';
import { filesFlow, MOST_FILES, REPORT } from './files-flow.js';
import { type Found, findMarkdown } from './find-markdown.js';
import { paceFor, SLOTS, WORKERS } from './pace.js';
import { type Child, Processes } from './processes.js';
import { Progress } from './progress.js';
import { type Kill, type Report, reportAsText, reportOf } from './report.js';
import { Tally } from './tally.js';
import type { Totals } from './totals.js';

const progress = new Progress();
const processes = new Processes();
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupted.abort());

/** The address of a server: the one that was given, or one started for this. */
async function serverUrl(): Promise<string> {
  const { TAILRACE_URL: given, ...environment } = process.env;
  if (given) return given;
  progress.say('starting a server (the first start makes its database, which takes a few seconds)');
  const server = processes.start('the server', '../../src/main.ts', ['serve'], {
    TAILRACE_DATA_DIR: '.tailrace/quickstart',
    TAILRACE_LOG_LEVEL: 'error',
    ...environment,
    TAILRACE_PORT: '0',
  });
  const [, url = ''] = await server.says(/ at (https?:\S+)/, interrupted.signal);
  progress.say(`the server listens at ${url}`);
  return url;
}

async function run(found: Found, url: string): Promise<Report> {
  const client = new Client({ url, retryForMs: 5_000 });
  try {
    return await analyzeAll(found, url, client);
  } finally {
    client.close();
    progress.end();
  }
}

async function analyzeAll(found: Found, url: string, client: Client): Promise<Report> {
  const { files, folder } = found;
  const lane = `quickstart-${randomBytes(4).toString('hex')}`;
  const pace = paceFor(files.length);
  // In place before anything is created, so that it sees every end.
  const watch = await client.watchCompletions({ filter: { lanes: [lane] }, signal: interrupted.signal });
  const [victim, survivor] = WORKERS.map((name) =>
    processes.start(`worker ${name}`, 'worker.ts', [url, lane, folder, name, String(pace)]),
  );
  const startedMs = monotonicMs();
  const tally = new Tally();
  let kill: Kill | undefined;
  const watching = (async () => {
    for await (const entry of watch) {
      tally.add(entry);
      if (victim && !kill && isHalfWay(tally.ended, files.length)) kill = killHalfWay(victim, tally.ended);
      progress.update(tally.ended, files.length, kill ? `worker ${kill.worker} is dead` : 'two workers');
      if (tally.report) break;
    }
  })();
  const creating = client.createFlow(filesFlow(files, lane));
  const [{ ids }] = await Promise.race([Promise.all([creating, watching]), endOf(survivor)]);
  interrupted.signal.throwIfAborted();
  const tookMs = monotonicMs() - startedMs;
  const created = new Set(Object.entries(ids).flatMap(([name, id]) => (name === REPORT ? [] : [id])));
  return reportOf({ found, totals: await totals(client, ids[REPORT]), tally, created, kill, tookMs, pace });
}

/** The result of the flow's last member, whole: a watch leaves large ones out. */
async function totals(client: Client, executionId = ''): Promise<Totals> {
  const { execution } = await client.admin.getExecution({ executionId });
  const result = new Content(execution?.outcome?.result).json<Totals>();
  if (!result) throw new Error(`there is no report: ${execution?.outcome?.failure?.message ?? 'it was not made'}`);
  return result;
}

/** With fewer files everything is over after the first round. */
function isHalfWay(done: number, files: number): boolean {
  return done * 2 >= files && files >= 2 * WORKERS.length * SLOTS;
}

function killHalfWay(victim: Child, doneBefore: number): Kill {
  victim.kill();
  progress.say(`killing ${victim.name} (process ${victim.pid}) with SIGKILL after ${doneBefore} files`);
  return { worker: victim.name.replace('worker ', ''), pid: victim.pid, doneBefore, atMs: monotonicMs() };
}

/** Nobody is left to do the work. */
async function endOf(survivor: Child | undefined): Promise<never> {
  throw new Error(await survivor?.ended);
}

async function main(): Promise<number> {
  const { folder, json, help } = readArguments(process.argv.slice(2));
  if (help) {
    process.stdout.write(HELP);
    return 0;
  }
  const found = await findMarkdown(folder, MOST_FILES);
  if (found.files.length === 0) throw new Error(`there is no Markdown file under ${found.folder}`);
  const more = found.leftOut > 0 ? ` (and ${found.leftOut} more, which are left out)` : '';
  progress.say(`${found.files.length} Markdown files under ${found.folder}${more}`);
  const report = await run(found, await serverUrl());
  process.stdout.write(json ? `${JSON.stringify(report, null, 2)}\n` : reportAsText(report));
  return report.books.problems.length === 0 ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  progress.end();
  process.exitCode = interrupted.signal.aborted ? 130 : 1;
  progress.say(interrupted.signal.aborted ? 'interrupted' : `quickstart: ${(error as Error).message}`);
} finally {
  await processes.stopAll();
}
