/** A worker, and a client that gives it something to do. */
import { Client, Content } from '../src/client/index.js';
import { PermanentError, Worker } from '../src/worker/index.js';

const url = process.env['TAILRACE_URL'] ?? 'http://127.0.0.1:8233';
const worker = new Worker({ url, lanes: ['greetings'], slots: 20 });
worker.handle('greet', async ({ input, attemptNumber }) => {
  const { name } = input.json<{ name?: string }>() ?? {};
  if (!name) throw new PermanentError('nobody to greet'); // other errors are tried again
  return { greeting: `Hello, ${name}!`, attemptNumber };
});
await worker.start();
process.once('SIGTERM', () => worker.stop()); // finishes what it holds, gives back the rest

const client = new Client({ url });
const { executionId } = await client.create({ lane: 'greetings', type: 'greet', input: { name: 'Ada' } });
const { outcome } = await client.awaitExecution(executionId);
console.log(new Content(outcome?.result).json());
client.close();
