/**
 * One worker process of the quickstart: `worker.ts <url> <lane> <folder> <name> <pace>`. Ends in order when it is told
 * to, or when its parent is gone.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { monotonicMs, pause } from '../../src/runtime/clock.js';
import { type HandlerContext, PermanentError, Worker } from '../../src/worker/index.js';
import { type Analysis, brokenLinks, count } from './analyze-markdown.js';
import { REPORT } from './files-flow.js';
import { holdMs, LEASE_MS, SLOTS } from './pace.js';
import { totalsOf } from './totals.js';

const [url = '', lane = '', folder = '', name = '', pace = '0'] = process.argv.slice(2);

async function analyze({ input, signal }: HandlerContext): Promise<Analysis> {
  const file = input.text();
  const startedMs = monotonicMs();
  const text = await readFile(join(folder, file), 'utf8').catch((cause: Error) => {
    throw new PermanentError(`${file} cannot be read: ${cause.message}`, { cause });
  });
  const { words, headings, links } = count(text);
  const broken = await brokenLinks(folder, file, links);
  const ms = monotonicMs() - startedMs;
  await pause(holdMs(file, Number(pace)), signal);
  signal.throwIfAborted();
  return { file, words, headings, links: links.length, broken: broken.slice(0, 100), ms, worker: name };
}

const worker = new Worker({
  url,
  lanes: [lane],
  name: `quickstart-${name}`,
  slots: SLOTS,
  leaseDurationMs: LEASE_MS,
  drainMs: 1_000,
  log: () => {},
});
worker.handle('analyze-markdown', analyze);
worker.handle(REPORT, ({ inputs }) => totalsOf(inputs));
await worker.start();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => worker.stop());
process.stdin.on('end', () => worker.stop()).resume();
await worker.stopped;
process.exit();
