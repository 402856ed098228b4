/** Waiting for a flow over a log in memory: never answered early, never missed, and cheap however many wait. */
import { setMaxListeners } from 'node:events';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { FlowState } from '../../../src/domain/states.js';
import type { FlowMilestone } from '../../../src/log/flow-waits.js';
import { LiveLog } from '../../../src/log/live-log.js';
import { MemoryLog } from '../../support/memory-log.js';

const FLOW = '0190a5b4-9c1e-7d2a-8f00-0000000000f1';
const OTHER = '0190a5b4-9c1e-7d2a-8f00-0000000000f2';
const NOBODYS = '0190a5b4-9c1e-7d2a-8f00-0000000000f3';
const SETTLED = 43;
const ACTIVE = { state: FlowState.ACTIVE, settledAt: null };
const IDLE = { state: FlowState.IDLE, settledAt: new Date(1) };
const ENDED = { state: FlowState.SUCCEEDED, settledAt: new Date(2) };

let log: MemoryLog;
let live: LiveLog;
let stop: AbortController;

beforeEach(() => {
  vi.useFakeTimers();
  log = new MemoryLog();
  live = new LiveLog(log);
  stop = new AbortController();
  setMaxListeners(0, stop.signal); // all waits share it
  log.standing.set(FLOW, ACTIVE);
  log.standing.set(OTHER, ACTIVE);
});

afterEach(() => {
  stop.abort();
  vi.useRealTimers();
});

const wait = (until: FlowMilestone = 'settled', timeoutMs = 60_000, flow = FLOW) =>
  live.awaitFlow({ namespace: 1, flow, until, timeoutMs }, stop.signal);

/** Lets everything run that waits for no timer. */
const rest = () => vi.advanceTimersByTimeAsync(0);

/** Resolves to undefined while the other one has not. */
const soFar = async <T>(wait: Promise<T>) => {
  await rest();
  return await Promise.race([wait, Promise.resolve(undefined)]);
};

/** What a transaction that changes the flow does, and then its number. */
function become(standing: { state: number; settledAt: Date }, flow = FLOW): void {
  log.standing.set(flow, standing);
  live.wake(log.append(1, { kind: SETTLED, flow }));
}

test('what is so already is answered at once', async () => {
  log.standing.set(FLOW, IDLE);
  expect(await wait()).toMatchObject({ state: FlowState.IDLE, settled: true, reached: true });
  expect(await wait('ended', 0)).toMatchObject({ state: FlowState.IDLE, settled: true, reached: false });
  expect(await wait('settled', 0, OTHER)).toMatchObject({ state: FlowState.ACTIVE, settled: false, reached: false });
});

test('a flow that is not there, or another namespace has, is refused', async () => {
  const wanted = { namespace: 1, until: 'ended', timeoutMs: 1_000 } as const;
  for (const bad of [
    { ...wanted, flow: NOBODYS },
    { ...wanted, namespace: 2, flow: FLOW },
  ]) {
    await expect(live.awaitFlow(bad, stop.signal)).rejects.toMatchObject({ reason: 'FLOW_NOT_FOUND' });
  }
});

test('it is answered when the flow settles, and for an end only when it has ended', async () => {
  const settled = wait();
  const ended = wait('ended');
  expect(await soFar(settled)).toBeUndefined();
  become(IDLE);
  expect(await settled).toMatchObject({ reached: true, state: FlowState.IDLE });
  expect(await soFar(ended)).toBeUndefined();
  become(ENDED);
  expect(await ended).toMatchObject({ reached: true, state: FlowState.SUCCEEDED });
});

test('an entry alone is no answer: what the flow says counts, and it may have gone on', async () => {
  const settled = wait();
  await rest();
  live.wake(log.append(1, { kind: SETTLED, flow: FLOW }));
  expect(await soFar(settled)).toBeUndefined();
  become(IDLE);
  expect(await settled).toMatchObject({ reached: true });
});

test('what settles between the first look and the wait is not missed', async () => {
  const open = log.hold();
  const settled = wait();
  await rest();
  become(IDLE); // while the first look is under way: it says what it saw before
  open();
  expect(await settled).toMatchObject({ reached: true });
});

test('a lost wake-up costs until the next one only', async () => {
  const settled = wait();
  await rest();
  log.standing.set(FLOW, IDLE);
  log.append(1, { kind: SETTLED, flow: FLOW });
  expect(await soFar(settled)).toBeUndefined();
  live.wake(); // the pulse
  expect(await settled).toMatchObject({ reached: true });
});

test('the time passes without an error, and the last look is at its end', async () => {
  const settled = wait('settled', 5_000);
  await vi.advanceTimersByTimeAsync(4_999);
  expect(await soFar(settled)).toBeUndefined();
  await vi.advanceTimersByTimeAsync(1);
  expect(await settled).toMatchObject({ state: FlowState.ACTIVE, settled: false, reached: false });
});

describe('many waiters', () => {
  test('read together, and entries of members or other flows cost nothing', async () => {
    const waits = Array.from({ length: 500 }, () => wait());
    await rest();
    const before = log.flowReads;
    live.wake(log.append(50, { kind: 6, flow: FLOW }));
    live.wake(log.append(50, { kind: SETTLED, flow: NOBODYS }));
    live.wake(log.append(1, { kind: 41, flow: FLOW }));
    await rest();
    expect(log.flowReads).toBe(before);
    become(IDLE);
    expect(await Promise.all(waits)).toHaveLength(500);
    expect(log.flowReads - before).toBeLessThanOrEqual(2);
  });

  test('each wakes for its own flow', async () => {
    const one = wait();
    const other = wait('settled', 60_000, OTHER);
    await rest();
    become(IDLE);
    expect(await one).toMatchObject({ reached: true });
    expect(await soFar(other)).toBeUndefined();
    become(IDLE, OTHER);
    expect(await other).toMatchObject({ reached: true });
  });
});

test('nobody waits on without the log: it is told, and may wait anew', async () => {
  const waiting = wait();
  await rest();
  live.fail(new Error('the database is away'));
  await expect(waiting).rejects.toThrow('the database is away');
  const again = wait();
  await rest();
  become(IDLE);
  expect(await again).toMatchObject({ reached: true });
  live.close();
  await expect(wait()).rejects.toMatchObject({ reason: 'DRAINING' });
});

test('an aborted wait answers what is known', async () => {
  const waiting = wait();
  await rest();
  stop.abort();
  expect(await waiting).toMatchObject({ reached: false });
});
