/**
 * A flow with a chain (text → words → report), a best of three (the first title wins, the others are canceled), a wait
 * for children (a child per line of the text) and a spawned execution that nobody waits for. Prints the report and how
 * every member ended.
 */
import { Client, Content, ExecutionState, flow } from '../../src/client/index.js';
import { Worker } from '../../src/worker/index.js';
import { handleAll } from './handlers.js';

const url = process.env['TAILRACE_URL'] ?? 'http://127.0.0.1:8233';
const lane = 'mill';
const worker = handleAll(new Worker({ url, lanes: [lane], leaseDurationMs: 2_000, drainMs: 2_000 }));
await worker.start();

const title = (author: string, ms: number) => ({ type: 'title', lane, input: { author, ms } });
const mill = flow({ name: 'mill', tags: { example: 'flow' } })
  .member('text', { type: 'fetch-text', lane })
  .member('words', { type: 'count-words', lane })
  .member('report', { type: 'report', lane })
  .chain('text', 'words', 'report')
  .member('Ada', title('Ada', 10))
  .member('Grace', title('Grace', 60_000))
  .member('Edsger', title('Edsger', 60_000))
  .member('title', { type: 'best', lane })
  .fanIn(['Ada', 'Grace', 'Edsger'], 'title')
  .join('title', { mode: 'any', onSatisfied: 'cancel_rest' })
  .edge('title', 'report');

const client = new Client({ url });
const { ids } = await client.createFlow(mill);
const { executions } = await client.awaitExecutions(Object.values(ids), { timeoutMs: 60_000 });
for (const [index, name] of Object.keys(ids).entries()) {
  const { outcome } = executions[index] ?? {};
  const result = new Content(outcome?.result);
  console.log(`${name}: ${ExecutionState[outcome?.state ?? 0]} ${result.empty ? '' : JSON.stringify(result.json())}`);
}
client.close();
await worker.stop();
