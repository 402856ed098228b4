/**
 * A worker process: `worker-program.ts <url> <transport> <lane> <lease ms>`. It takes one execution at a time of type
 * `hold`, keeps it whatever its signal says until a line arrives on standard input, and returns that line.
 *
 * Says on standard output, one JSON line each: that it started, what it claimed, and what its worker logs.
 */
import { createInterface } from 'node:readline';
import { Worker } from '../../src/worker/index.js';

const [url = '', transport = '', lane = '', lease = ''] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin });
const say = (event: object) => console.log(JSON.stringify(event));

const worker = new Worker({
  url,
  transport: transport === 'grpc' ? 'grpc' : 'connect',
  lanes: [lane],
  slots: 1,
  leaseDurationMs: Number(lease),
  log: (_, message, { error }) => say({ log: message, reason: (error as { reason?: string } | undefined)?.reason }),
});
worker.handle('hold', (context) => {
  context.signal.addEventListener('abort', () => say({ aborted: context.signal.reason.name }));
  say({ claimed: context.executionId, fencingToken: Number(context.fencingToken) });
  return new Promise((resolve) => lines.once('line', resolve));
});
await worker.start();
say({ started: worker.instanceId });
