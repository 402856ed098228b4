/** proof.md 1: workers that die or freeze in the middle of an execution. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { AttemptKind } from '../../gen/tailrace/v1/attempt_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { Client, Content } from '../../src/client/index.js';
import { monotonicMs } from '../../src/runtime/clock.js';
import { type HandlerContext, Worker } from '../../src/worker/index.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';
import { WorkerProcess } from '../support/worker-process.js';

const LEASE_MS = 2_000;
const TAKEOVER_MS = LEASE_MS + 8_000;

let tailrace: TestTailrace;
let client: Client;
let victim: WorkerProcess;
let successor: Worker;
beforeAll(async () => {
  tailrace = await startTailrace();
  client = new Client({ url: tailrace.url });
});
afterEach(async () => {
  await victim.kill();
  await successor.stop();
});
afterAll(async () => {
  client.close();
  await tailrace.stop();
});

/** A second worker on the lane. `claimed` resolves with its first claim, which it holds until `letGo`. */
function standBy(lane: string) {
  let letGo: (result: string) => void = () => {};
  let claim: (context: HandlerContext) => void = () => {};
  const claimed = new Promise<HandlerContext>((resolve) => {
    claim = resolve;
  });
  successor = new Worker({ url: tailrace.url, lanes: [lane], leaseDurationMs: 60_000, drainMs: 0 });
  successor.handle('hold', (context) => {
    claim(context);
    return new Promise((resolve) => {
      letGo = resolve;
    });
  });
  return { claimed, letGo: (result: string) => letGo(result) };
}

/** An execution in the hands of the worker process. */
async function heldByVictim(lane: string, transport: string): Promise<string> {
  victim = new WorkerProcess(tailrace.url, transport, lane, LEASE_MS);
  const { executionId } = await client.create({ type: 'hold', lane });
  expect((await victim.says('claimed'))['claimed']).toBe(executionId);
  return executionId;
}

test.each(['connect', 'grpc'])('a killed worker (%s) is replaced soon after its lease', async (transport) => {
  const lane = `killed-${transport}`;
  const executionId = await heldByVictim(lane, transport);
  const { claimed, letGo } = standBy(lane);
  await successor.start();
  const killedMs = monotonicMs();
  await victim.kill();

  const context = await claimed;
  expect(monotonicMs() - killedMs).toBeLessThan(TAKEOVER_MS);
  expect(context).toMatchObject({ executionId, attemptNumber: 2, attemptKind: AttemptKind.RECLAIM });
  letGo('successor');
  const { outcome } = await client.awaitExecution(executionId, { timeoutMs: 20_000 });
  expect(outcome).toMatchObject({ state: ExecutionState.SUCCEEDED, attemptNumber: 2 });
});

describe('a worker that was frozen past its lease', () => {
  async function frozen(lane: string) {
    const executionId = await heldByVictim(lane, 'connect');
    const { claimed, letGo } = standBy(lane);
    victim.signal('SIGSTOP');
    await successor.start();
    const context = await claimed;
    const { fencingToken } = await victim.says('claimed');
    expect(Number(context.fencingToken)).toBeGreaterThan(Number(fencingToken));
    return { executionId, letGo };
  }

  test('stops believing in it, and is refused while its successor runs', async () => {
    const { executionId, letGo } = await frozen('frozen-running');
    victim.signal('SIGCONT');
    victim.finish('frozen');
    expect(await victim.says('aborted')).toEqual({ aborted: 'LeaseLostError' });
    expect(await victim.says('reason')).toEqual({ log: 'the outcome was not taken', reason: 'LEASE_LOST' });
    letGo('successor');
    const { outcome } = await client.awaitExecution(executionId, { timeoutMs: 20_000 });
    expect(new Content(outcome?.result).json()).toBe('successor');
    expect(outcome?.attemptNumber).toBe(2);
  });

  test('is refused after its successor has ended it', async () => {
    const { executionId, letGo } = await frozen('frozen-ended');
    letGo('successor');
    await client.awaitExecution(executionId, { timeoutMs: 20_000 });
    victim.signal('SIGCONT');
    victim.finish('frozen');
    expect(await victim.says('reason')).toEqual({ log: 'the outcome was not taken', reason: 'EXECUTION_TERMINAL' });
    const { outcome } = await client.awaitExecution(executionId);
    expect(new Content(outcome?.result).json()).toBe('successor');
  });
});
