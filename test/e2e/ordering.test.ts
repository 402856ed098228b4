/**
 * V3: executions of an ordering key run one after the other, in the order in which they were made; whoever goes first keeps the
 * place until it has ended. Histories are judged by that, too (support/history/ordering.ts).
 */
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { CancelMode } from '../../gen/tailrace/v1/cancel_pb.js';
import { DeadLetterResolution } from '../../gen/tailrace/v1/dead_letter_pb.js';
import { BlockKind, DeadHeadPolicy, type ExecutionSpec } from '../../gen/tailrace/v1/execution_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { HoldKind } from '../../gen/tailrace/v1/explain_pb.js';
import { DAY_MS } from '../../src/services/validation.js';
import { type Init, refusal, seconds } from '../support/by-hand.js';
import { Chance } from '../support/chance.js';
import { eventually } from '../support/eventually.js';
import { type Another, Recorded } from '../support/history/recorded.js';
import { from, KeyedByHand } from '../support/keyed-by-hand.js';

const { BLOCKED, SCHEDULED, QUEUED, SUSPENDED, WAITING_CHILDREN, CANCELED, EXPIRED } = ExecutionState;
const { PERMANENT, TRANSIENT } = FailureClass;

let recorded: Recorded;
let another: Another;
let hand: KeyedByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  another = await recorded.another();
  hand = new KeyedByHand(recorded.clients);
});
afterAll(() => recorded.stop());

const SKIP = { deadHeadPolicy: DeadHeadPolicy.SKIP };
const soon = seconds(1); // a time that has long passed
const later = () => seconds(Math.ceil((Date.now() + DAY_MS) / 1_000));

async function ordered(lane: string, count: number, more: Init<ExecutionSpec> = {}): Promise<string[]> {
  return await hand.keyed(lane, count, { concurrencyKey: '', orderingKey: 'k', ...more });
}

async function holdsOf(executionId: string) {
  const { holds } = await recorded.clients.admin.explainExecution({ executionId });
  return holds.map(({ kind, subject }) => [HoldKind[kind], subject]);
}

async function letterOf(executionId: string): Promise<string> {
  return (await hand.look(executionId)).outcome?.deadLetterId ?? '';
}

const becomes = (id: string, state: ExecutionState) => eventually(async () => (await hand.state(id)) === state);

describe('the head of an ordering key', () => {
  it('goes first, whatever is more urgent; the others say whom they wait for', async () => {
    const lane = 'first';
    const ids = await ordered(lane, 2);
    ids.push(...(await ordered(lane, 1, { priority: 900 })));
    const [a = '', b = '', c = ''] = ids;
    expect(await hand.statesOf(ids)).toEqual([QUEUED, BLOCKED, BLOCKED]);
    expect(await hand.execution(c)).toMatchObject({
      orderingKey: 'k',
      deadHeadPolicy: DeadHeadPolicy.BLOCK,
      block: { kind: BlockKind.ORDERING_KEY, subject: 'k' },
    });
    expect(await holdsOf(b)).toContainEqual(['ORDERING_KEY', a]);
    expect(await refusal(hand.claimNamed(c))).toMatchObject({ reason: 'WRONG_STATE' });
    const aside = await ordered('aside', 1);
    expect(await hand.statesOf(aside)).toEqual([QUEUED]);
    await hand.drain('aside', 1);
    expect(await hand.drain(lane, 3)).toEqual(ids);
  });

  it('keeps its place while it backs off, is put off, parked, waits for children or a budget', async () => {
    const lane = 'keeps';
    const [a = '', b = ''] = await ordered(lane, 2);
    const stays = async (state: ExecutionState) => expect(await hand.statesOf([a, b])).toEqual([state, BLOCKED]);
    const due = () => recorded.clients.admin.changeExecution({ executionId: a, runTime: soon });
    await hand.fail(await hand.claimOne(from(lane)), TRANSIENT, { retryDelay: seconds(600) });
    await stays(SCHEDULED);
    expect(await holdsOf(b)).toContainEqual(['ORDERING_KEY', a]);
    await due();
    await stays(QUEUED);
    await hand.delay(await hand.claimOne(from(lane)), { delay: seconds(600) });
    await stays(SCHEDULED);
    await due();
    await hand.release(await hand.claimOne(from(lane)));
    await stays(QUEUED);
    await recorded.clients.admin.changeExecution({ executionId: a, runTime: later() });
    await stays(SCHEDULED);
    await due();
    await hand.suspend(await hand.claimOne(from(lane)));
    await stays(SUSPENDED);
    await hand.signal(a);
    await stays(QUEUED);
    const parent = await hand.claimOne(from(lane));
    const below = { type: 'child', lane, orderingKey: 'k' };
    // It would wait for the place of who waits for it.
    expect(await refusal(hand.waitForChildren(parent, [{ name: 'below', execution: below }]))).toMatchObject({
      fieldViolations: [{ field: 'children[0].execution.ordering_key' }],
    });
    await hand.waitForChildren(parent, [{ name: 'child', execution: { type: 'child', lane: 'children' } }]);
    await stays(WAITING_CHILDREN);
    await hand.drain('children', 1);
    await becomes(a, QUEUED);
    await hand.putBudget({
      name: lane,
      limits: { tokens: { hardLimit: 1n } },
      attachments: [{ subject: { case: 'lane', value: lane } }],
    });
    const spender = await hand.claimNamed(await hand.createOne({ lane }));
    await hand.report(spender, { tokens: 1n });
    await hand.complete(spender);
    await becomes(a, BLOCKED);
    expect(await hand.execution(a)).toMatchObject({ block: { kind: BlockKind.BUDGET } });
    expect(await holdsOf(b)).toContainEqual(['ORDERING_KEY', a]);
    await recorded.clients.admin.resetBudget({ budget: lane });
    await becomes(a, QUEUED);
    await stays(QUEUED);
    expect(await hand.drain(lane, 2)).toEqual([a, b]);
  });

  it('keeps its place until it is to run; so does who comes next', async () => {
    const lane = 'delayed';
    const [a = ''] = await ordered(lane, 1, { runTime: later() });
    const [b = ''] = await ordered(lane, 1, { delay: seconds(86_400) });
    const [c = ''] = await ordered(lane, 1);
    expect(await hand.statesOf([a, b, c])).toEqual([SCHEDULED, BLOCKED, BLOCKED]);
    await recorded.clients.admin.changeExecution({ executionId: a, runTime: soon });
    await recorded.clients.admin.changeExecution({ executionId: c, runTime: later() });
    expect(await hand.statesOf([a, b, c])).toEqual([QUEUED, BLOCKED, BLOCKED]);
    await hand.drain(lane, 1);
    expect(await hand.statesOf([b, c])).toEqual([SCHEDULED, BLOCKED]);
    await recorded.clients.admin.changeExecution({ executionId: c, runTime: soon });
    await recorded.clients.admin.changeExecution({ executionId: b, runTime: soon });
    expect(await hand.drain(lane, 2)).toEqual([b, c]);
  });

  it('passes it on when it is canceled or has succeeded, as does who leaves the line', async () => {
    const lane = 'passes';
    const [a = '', b = '', c = '', d = ''] = await ordered(lane, 4);
    await hand.cancel(a);
    expect(await hand.statesOf([a, b])).toEqual([CANCELED, QUEUED]);
    await hand.cancel(c);
    const claim = await hand.claimOne(from(lane));
    await hand.cancel(b, { policy: { mode: CancelMode.NOW } });
    expect([claim.executionId, await hand.state(d)]).toEqual([b, QUEUED]);
    await hand.drain(lane, 1);
    expect(await hand.statesOf(await ordered(lane, 2))).toEqual([QUEUED, BLOCKED]);
    await hand.drain(lane, 2);
  });
});

describe('a dead head', () => {
  it('blocks its key until it is redriven with success, at the place it had', async () => {
    const lane = 'dead';
    const [a = '', b = ''] = await ordered(lane, 2);
    await hand.fail(await hand.claimOne(from(lane)), PERMANENT);
    const deadLetterId = await letterOf(a);
    expect(await hand.state(b)).toBe(BLOCKED);
    expect(await holdsOf(b)).toContainEqual(['DEAD_HEAD', deadLetterId]);
    const redrive = async () => (await recorded.clients.deadLetters.redriveDeadLetter({ deadLetterId })).executionId;
    const second = await redrive();
    expect(await hand.execution(second)).toMatchObject({ state: QUEUED, orderingKey: 'k', deadHeadPolicy: 1 });
    expect(await holdsOf(b)).toContainEqual(['ORDERING_KEY', second]);
    await hand.fail(await hand.claimOne(from(lane)), PERMANENT);
    expect([await hand.state(b), ...(await holdsOf(b))]).toContainEqual(['DEAD_HEAD', deadLetterId]);
    const canceled = await redrive();
    await hand.cancel(canceled);
    expect(await hand.state(b)).toBe(BLOCKED);
    const third = await redrive();
    expect(await hand.statesOf([third, b])).toEqual([QUEUED, BLOCKED]);
    expect(await hand.drain(lane, 2)).toEqual([third, b]);
  });

  it('blocks its key until its letter is resolved, or not at all where it is to be skipped', async () => {
    const lane = 'resolved';
    const [a = '', b = ''] = await ordered(lane, 2);
    await hand.fail(await hand.claimOne(from(lane)), PERMANENT);
    await recorded.clients.deadLetters.resolveDeadLetters({
      deadLetters: [{ deadLetterId: await letterOf(a) }],
      resolution: DeadLetterResolution.IGNORED,
    });
    await becomes(b, QUEUED);
    await hand.drain(lane, 1);
    const [c = '', d = '', e = ''] = await ordered(lane, 3, SKIP);
    await hand.fail(await hand.claimOne(from(lane)), PERMANENT);
    expect(await hand.statesOf([d, e])).toEqual([QUEUED, BLOCKED]);
    // Run again it is one more of its key, and comes last.
    const again = await recorded.clients.deadLetters.redriveDeadLetter({ deadLetterId: await letterOf(c) });
    expect(await hand.drain(lane, 3)).toEqual([d, e, again.executionId]);
  });

  it('that gave up in line blocks those behind it, and is redriven between the others', async () => {
    const lane = 'expired';
    const [a = '', b = ''] = await ordered(lane, 2);
    const [c = ''] = await ordered(lane, 1, { ttl: seconds(0.1) });
    const [d = ''] = await ordered(lane, 1);
    await becomes(c, EXPIRED);
    const deadLetterId = await letterOf(c);
    expect(await hand.drain(lane, 1)).toEqual([a]);
    await becomes(b, QUEUED);
    expect(await holdsOf(d)).toContainEqual(['DEAD_HEAD', deadLetterId]);
    const { executionId } = await recorded.clients.deadLetters.redriveDeadLetter({ deadLetterId });
    expect(await hand.statesOf([b, executionId, d])).toEqual([QUEUED, BLOCKED, BLOCKED]);
    expect(await hand.drain(lane, 3)).toEqual([b, executionId, d]);
  });
});

describe('a member of a flow', () => {
  it('takes its place when its join lets it go, and gives it up to wait for another', async () => {
    const lane = 'members';
    const key = { orderingKey: 'k' };
    const flow = await hand.flow(
      { members: { up: {}, down: key, aside: key }, links: [['up', 'down']] },
      { open: true },
      lane,
    );
    expect(await flow.states()).toEqual({ up: 'QUEUED', down: 'BLOCKED', aside: 'QUEUED' });
    await flow.extend({ members: { more: {} }, links: [['more', 'aside']] });
    await flow.complete('up');
    await becomes(flow.of('down'), QUEUED);
    await flow.complete('more');
    await eventually(async () => (await hand.execution(flow.of('aside'))).block?.kind === BlockKind.ORDERING_KEY);
    await flow.complete('down');
    await flow.complete('aside');
    await flow.seal();
    await flow.ended();
  });
});

test('one call of a thousand of a key keeps its order, though it is more than one transaction', async () => {
  const lane = 'many';
  const ids = await ordered(lane, 1_000);
  const { executions } = await recorded.clients.admin.listExecutions({ filter: { lanes: [lane] }, pageSize: 1_000 });
  expect(executions).toHaveLength(1_000);
  expect(await hand.drain(lane, 25)).toEqual(ids.slice(0, 25));
});

test('64 workers at two servers: no two of a key at once, and each key in its order', async () => {
  const lane = 'racing';
  const keys = Array.from({ length: 16 }, (_, i) => `key ${i}`);
  const made = new Map<string, string[]>(keys.map((key) => [key, []]));
  // Below zero for a moment: a worker may end one before whoever made it is answered.
  let left = 0;
  const running = new Map<string, string>();
  const ended = new Map<string, string[]>(keys.map((key) => [key, []]));
  let making = true;
  const make = async () => {
    for (let i = 0; i < 6; i++) {
      // However often one fails for a moment, it is given up only where its worker says so.
      const retryPolicy = { maxAttempts: 1_000 };
      const ids = await hand.create(...keys.map((orderingKey) => ({ lane, orderingKey, ...SKIP, retryPolicy })));
      left += ids.length;
      ids.forEach((id, k) => void made.get(keys[k] ?? '')?.push(id));
    }
    making = false;
  };
  const worker = async (i: number) => {
    const random = new Chance(i);
    const { clients } = i % 2 === 0 ? recorded : another;
    const own = new KeyedByHand(clients, 'worker', `ordering ${i}`);
    while (making || left > 0) {
      for (const claim of await own.claim({ ...from(lane), maxExecutions: 2, wait: seconds(1) })) {
        const { executionId: id, orderingKey: key } = claim;
        expect(running.get(key) ?? id, key).toBe(id);
        running.set(key, id);
        const way = random.below(10);
        if (way === 0) await own.release(claim);
        else if (way === 1) await own.fail(claim, TRANSIENT, { retryDelay: seconds(0) });
        else if (way === 2) await own.delay(claim, { delay: seconds(0.02) });
        else if (way === 3) {
          // What a former attempt waited for has come, and holds for this one as well: then it is not parked.
          const { suspended } = await own.suspend(claim);
          await (suspended ? own.signal(id) : own.release(claim));
        } else {
          running.delete(key);
          ended.get(key)?.push(id);
          left--;
          if (way === 4) await own.fail(claim, PERMANENT);
          else await own.complete(claim);
        }
      }
    }
  };
  await Promise.all([make(), ...Array.from({ length: 64 }, (_, i) => worker(i))]);
  expect(Object.fromEntries(ended)).toEqual(Object.fromEntries(made));
});

test('an ordering key is for one that runs alone: it excludes a concurrency key, and a policy needs it', async () => {
  const asked = { type: 'work', orderingKey: 'k', concurrencyKey: 'c' };
  const create = (spec: Init<ExecutionSpec>) => recorded.clients.engine.createExecutions({ executions: [spec] });
  expect(await refusal(create(asked))).toMatchObject({ reason: 'INVALID_FIELD' });
  expect(await refusal(create({ type: 'work', ...SKIP }))).toMatchObject({ reason: 'INVALID_FIELD' });
});
