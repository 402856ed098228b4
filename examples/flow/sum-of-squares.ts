/** The smallest flow: two members that know nothing of each other, and one that is handed what both left. */
import { Client, Content, flow } from '../../src/client/index.js';
import { Worker } from '../../src/worker/index.js';

const url = process.env['TAILRACE_URL'] ?? 'http://127.0.0.1:8233';
const lane = 'squares';
const worker = new Worker({ url, lanes: [lane] });
worker.handle('square', ({ input }) => Number(input.json()) ** 2);
worker.handle('sum', ({ inputs }) => inputs.list.reduce((sum, { content }) => sum + Number(content.json()), 0));
await worker.start();

const client = new Client({ url });
const { ids } = await client.createFlow(
  flow({ name: 'sum of squares' })
    .member('three', { type: 'square', lane, input: 3 })
    .member('four', { type: 'square', lane, input: 4 })
    .member('sum', { type: 'sum', lane })
    .fanIn(['three', 'four'], 'sum'), // a misspelled name does not compile
);
const { outcome } = await client.awaitExecution(ids.sum);
console.log(new Content(outcome?.result).json());
client.close();
await worker.stop();
