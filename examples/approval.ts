/**
 * A person decides about a refund by a signed link.
 *
 * The link carries the token of a waitpoint: its bearer may signal there, and do nothing else. Until somebody does, the
 * execution is parked: it holds no lease and no slot, and neither this program nor the server needs to run.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { SignalSource } from '../gen/tailrace/v1/signal_pb.js';
import { asTailraceError, Client, Content } from '../src/client/index.js';
import { signal, Worker } from '../src/worker/index.js';

const url = process.env['TAILRACE_URL'] ?? 'http://127.0.0.1:8233';
const lane = 'refunds';
const DAY_MS = 24 * 60 * 60 * 1_000;
const client = new Client({ url });

const FORM = `<!doctype html><title>Refund</title><form method="post">
  <button name="decision" value="approve">Approve</button> <button name="decision" value="reject">Reject</button></form>`;
const REFUSALS: Readonly<Record<string, readonly [status: number, said: string]>> = {
  INVALID_WAITPOINT_TOKEN: [403, 'This link is not valid, or not any more.'],
  REQUEST_ID_REUSED: [409, 'It was decided the other way before.'],
};

/** GET asks and changes nothing, for programs follow links, too; POST decides. Saying the same twice is no error. */
async function decide(request: IncomingMessage, response: ServerResponse): Promise<void> {
  response.setHeader('referrer-policy', 'no-referrer'); // the address is a secret
  if (request.method !== 'POST') {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(FORM);
    return;
  }
  const token = new URL(request.url ?? '', 'http://here').searchParams.get('token') ?? '';
  const approved = new URLSearchParams(await text(request)).get('decision') === 'approve';
  try {
    await client.engine.signalExecution({
      target: { case: 'waitpointToken', value: token },
      name: 'decision',
      payload: { body: { case: 'text', value: approved ? 'approved' : 'rejected' } },
      source: SignalSource.HUMAN,
      sourceId: 'bearer of the link',
      idempotencyKey: createHash('sha256').update(token).digest('hex'),
    });
    response.writeHead(200).end(approved ? 'Approved.' : 'Rejected.');
  } catch (error) {
    const [status, said] = REFUSALS[asTailraceError(error).reason ?? ''] ?? [503, 'Please try again.'];
    response.writeHead(status).end(said);
  }
}

const server = createServer((request, response) => void decide(request, response));
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
const { port } = server.address() as AddressInfo;

const worker = new Worker({ url, lanes: [lane] });
worker.handle('refund', async (ctx) => {
  const note = `Refund ${String(ctx.input.json())} EUR?`;
  const { token, state } = await ctx.waitpoint('decision', { expiryMs: DAY_MS });
  // A mail, in earnest. Should this attempt be lost, the next one sends the link again if nobody has decided yet; else it finds
  // the decision that was made.
  if (state === 'open') console.log(`${note} http://127.0.0.1:${port}/?token=${token}`);
  const { signals } = await ctx.suspend({
    condition: signal('decision', { waitpoint: 'decision' }),
    reason: 'approval',
    note,
    timeoutMs: DAY_MS,
    onTimeout: 'cancel',
  });
  return signals[0]?.content.text();
});
await worker.start();

const { executionId } = await client.create({ lane, type: 'refund', input: 42 });
const { outcome } = await client.awaitExecution(executionId);
console.log(new Content(outcome?.result).json());
server.close();
client.close();
await worker.stop();
