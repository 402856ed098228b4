/** What is parked, and where signals may land: listed, paged, resumed by an operator. */
import { timestampDate, timestampFromDate } from '@bufbuild/protobuf/wkt';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import {
  CountDistinct,
  ResumeCause,
  SignalSource,
  SuspensionReason,
  SuspensionTimeoutBehavior,
  WaitpointState,
} from '../../../gen/tailrace/v1/signal_pb.js';
import { listSuspensions, listWaitpoints } from '../../../src/repository/suspensions/index.js';
import { only, refusal, seconds, text } from '../../support/by-hand.js';
import { type Desk, startDesk } from '../../support/desk.js';
import { eventually } from '../../support/eventually.js';
import { HeldExecution } from '../../support/held-execution.js';

let desk: Desk;
beforeAll(async () => {
  desk = await startDesk();
});
afterEach(async () => {
  expect(await desk.broken()).toEqual([]);
});
afterAll(() => desk.stop());

type Spec = Parameters<typeof HeldExecution.make>[2];
type List = Parameters<Desk['admin']['listSuspendedExecutions']>[0];

const hold = (namespace: string, spec: Spec = {}) => HeldExecution.make(desk, namespace, spec);

async function listed(namespace: string, filter: List = {}): Promise<string[]> {
  const { suspensions } = await desk.admin.listSuspendedExecutions({ namespace, ...filter });
  return suspensions.map(({ executionId }) => executionId);
}

async function signal(
  namespace: string,
  { id }: HeldExecution,
  name: string,
  more: { key?: string; sourceId?: string } = {},
) {
  const target = { case: 'execution' as const, value: { executionId: id, waitpointKey: more.key ?? '' } };
  return await desk.engine.signalExecution({ namespace, target, name, sourceId: more.sourceId ?? '' });
}

const on = (name: string, waitpointKey = '') => ({ name, waitpointKey });
const one = (name: string, waitpointKey = '') => ({
  condition: { case: 'signal' as const, value: on(name, waitpointKey) },
});

describe('ListSuspendedExecutions', () => {
  it('shows what waits for what, since when and until when, and never a token; GetExecution shows the same', async () => {
    const namespace = 'shown';
    const held = await hold(namespace);
    const [, other] = await held.tokens('left', 'right');
    const among = [on('vote', 'left'), on('vote', 'right')];
    const value = { count: 2, distinct: CountDistinct.WAITPOINTS, among };
    const members = [one('paid'), { condition: { case: 'count' as const, value } }];
    await held.suspend('', '', {
      condition: { condition: { case: 'allOf', value: { members } } },
      reason: SuspensionReason.APPROVAL,
      timeout: seconds(3_600),
      timeoutBehavior: SuspensionTimeoutBehavior.ESCALATE,
      resumeDelay: seconds(1.5),
      note: 'a large refund',
    });
    await signal(namespace, held, 'vote', { key: 'right' });
    const { suspensions } = await desk.admin.listSuspendedExecutions({ namespace });
    const shown = only(suspensions);
    expect(shown).toMatchObject({
      executionId: held.id,
      suspensionNumber: 1,
      reason: SuspensionReason.APPROVAL,
      condition: {
        condition: {
          case: 'allOf',
          value: {
            members: [
              { condition: { case: 'signal', value: on('paid') } },
              { condition: { case: 'count', value: { count: 2, distinct: CountDistinct.WAITPOINTS, among } } },
            ],
          },
        },
      },
      waitpoints: [
        { key: 'left', executionId: held.id, state: WaitpointState.ACTIVE, signalCount: 0, token: '' },
        { key: 'right', executionId: held.id, state: WaitpointState.ACTIVE, signalCount: 1, token: '' },
      ],
      satisfierCount: 1,
      timeoutBehavior: SuspensionTimeoutBehavior.ESCALATE,
      resumeDelay: seconds(1.5),
      escalated: false,
      note: 'a large refund',
    });
    const { suspendTime, timeoutTime } = shown;
    if (!suspendTime || !timeoutTime) throw new Error('times are missing');
    const waits = timestampDate(timeoutTime).getTime() - timestampDate(suspendTime).getTime();
    expect(waits).toBeGreaterThan(3_599_000);
    expect(waits).toBeLessThan(3_601_000);
    expect(JSON.stringify(shown, (_, found) => (typeof found === 'bigint' ? `${found}` : found))).not.toContain(other);
    const { execution } = await desk.admin.getExecution({ namespace, executionId: held.id });
    expect(execution?.suspension).toEqual(shown);
  });

  it('finds by reason, lane, type, flow and time, longest parked first', async () => {
    const namespace = 'found';
    const { flowId } = await desk.engine.createFlow({ namespace, flow: { open: true } });
    const first = await hold(namespace, { lane: 'a', type: 'x' });
    const second = await hold(namespace, { lane: 'a', type: 'y', flowId });
    const third = await hold(namespace, { lane: 'b', type: 'x' });
    await first.suspend('go');
    await second.suspend('go', '', { reason: SuspensionReason.CALLBACK });
    await third.suspend('go', '', { reason: SuspensionReason.STEP });
    const [one, two, three] = [first.id, second.id, third.id];
    expect(await listed(namespace)).toEqual([one, two, three]);
    expect(await listed(namespace, { reasons: [SuspensionReason.STEP, SuspensionReason.SIGNAL] })).toEqual([
      one,
      three,
    ]);
    expect(await listed(namespace, { lanes: ['a'] })).toEqual([one, two]);
    expect(await listed(namespace, { types: ['x'] })).toEqual([one, three]);
    expect(await listed(namespace, { lanes: ['a', 'b'], types: ['y'] })).toEqual([two]);
    expect(await listed(namespace, { flowId })).toEqual([two]);
    expect(await listed(namespace, { escalatedOnly: true })).toEqual([]);
    const { suspensions } = await desk.admin.listSuspendedExecutions({ namespace });
    const [, at] = suspensions.map(({ suspendTime }) => suspendTime && timestampDate(suspendTime));
    const within = (ms: number) => ({ maxSuspendTime: timestampFromDate(new Date((at?.getTime() ?? 0) + ms)) });
    expect(await listed(namespace, within(-3_600_000))).toEqual([]);
    expect(await listed(namespace, within(3_600_000))).toEqual([one, two, three]);
    expect(await listed('elsewhere')).toEqual([]);
  });

  it('tells what waits for an operator since its timeout', async () => {
    const namespace = 'escalated';
    const held = await hold(namespace);
    await held.suspend('go', '', { timeout: seconds(0.1), timeoutBehavior: SuspensionTimeoutBehavior.ESCALATE });
    await (await hold(namespace)).suspend('go');
    await eventually(async () => (await listed(namespace, { escalatedOnly: true })).length > 0);
    const { suspensions } = await desk.admin.listSuspendedExecutions({ namespace, escalatedOnly: true });
    expect(suspensions).toMatchObject([
      { executionId: held.id, escalated: true, reason: SuspensionReason.OPERATOR_REVIEW },
    ]);
    expect(only(suspensions).timeoutTime).toBeDefined();
  });

  it('turns its pages while what it lists comes and goes, each once, and takes no token of another list', async () => {
    const namespace = 'paged';
    const held: HeldExecution[] = [];
    for (let i = 0; i < 7; i++) held.push(await hold(namespace));
    for (const execution of held) await execution.suspend('go');
    const pages: string[][] = [];
    let pageToken = '';
    do {
      const page = await desk.admin.listSuspendedExecutions({ namespace, pageSize: 2, pageToken });
      pages.push(page.suspensions.map(({ executionId }) => executionId));
      pageToken = page.nextPageToken;
      // What was shown goes away, and something new comes last.
      const gone = held[pages.length * 2 - 2];
      if (pages.length < 3 && gone) await signal(namespace, gone, 'go');
      if (pages.length === 1) {
        const late = await hold(namespace);
        await late.suspend('go');
        held.push(late);
      }
    } while (pageToken !== '');
    expect(pages.flat()).toEqual(held.map(({ id }) => id));
    expect(pages.map(({ length }) => length)).toEqual([2, 2, 2, 2]);
    const { nextPageToken } = await desk.admin.listSuspendedExecutions({ namespace, pageSize: 1 });
    const wrong = { namespace, pageToken: nextPageToken, lanes: ['another'] };
    expect((await refusal(desk.admin.listSuspendedExecutions(wrong))).reason).toBe('BAD_CURSOR');
  });

  it('counts what has come of what the condition needs', async () => {
    const namespace = 'counted';
    const sources = { count: 3, distinct: CountDistinct.SOURCES, among: [on('yes'), on('no')] };
    const any = { count: 2, distinct: CountDistinct.SIGNALS, among: [] };
    const held = await hold(namespace);
    const count = (value: typeof sources) => ({ condition: { case: 'count' as const, value } });
    const members = [count(sources), count({ ...any, among: [on('rare')] }), one('last')];
    await held.suspend('', '', { condition: { condition: { case: 'allOf', value: { members } } } });
    const now = async () => only((await desk.admin.listSuspendedExecutions({ namespace })).suspensions).satisfierCount;
    const seen = [await now()];
    for (const [name, sourceId] of [
      ['yes', 'ada'],
      ['no', 'ada'], // the same source once
      ['no', 'ben'],
      ['noise', 'cleo'], // nothing asks for it
      ['rare', 'ada'],
      ['rare', 'ada'],
      ['rare', 'ada'], // one more than is needed
    ] as const) {
      await signal(namespace, held, name, { sourceId });
      seen.push(await now());
    }
    expect(seen).toEqual([0, 1, 1, 2, 2, 3, 4, 4]);
  });

  it('reads no more than its budget, and goes on from there', async () => {
    const namespace = 'bounded';
    const held: HeldExecution[] = [];
    for (let i = 0; i < 9; i++) held.push(await hold(namespace, { type: i === 8 ? 'wanted' : 'other' }));
    for (const execution of held) await execution.suspend('go');
    const [database, id] = [desk.core.database, await desk.core.registry.namespaceFor(namespace)];
    const filter = {
      namespace: id,
      reasons: null,
      escalatedOnly: false,
      lanes: null,
      types: ['wanted'],
      flow: null,
      suspendedBefore: null,
    };
    const found: string[] = [];
    let after: Parameters<typeof listSuspensions>[2];
    let pages = 0;
    do {
      const page = await listSuspensions(database, filter, after, 5, 3);
      found.push(...page.suspensions.map(({ execution }) => execution));
      after = page.next;
      pages++;
    } while (after !== undefined);
    expect(found).toEqual([held[8]?.id]);
    expect(pages).toBeGreaterThanOrEqual(3);
  });
});

describe('ListPendingWaitpoints', () => {
  async function keys(namespace: string, filter: Parameters<Desk['admin']['listPendingWaitpoints']>[0] = {}) {
    const { waitpoints } = await desk.admin.listPendingWaitpoints({ namespace, ...filter });
    return waitpoints.map(({ key }) => key);
  }

  it('shows those that still take signals, next to expire first, without tokens', async () => {
    const namespace = 'doors';
    const held = await hold(namespace);
    await held.waitpoint('later', seconds(7_200));
    await held.waitpoint('sooner', seconds(3_600));
    await held.waitpoint('soonest', seconds(1_800));
    const another = await hold(namespace);
    await another.waitpoint('ended', seconds(60));
    await another.complete();
    const over = await hold(namespace);
    await over.waitpoint('over', seconds(60));
    await over.suspend('go', 'over');
    await signal(namespace, over, 'go', { key: 'over' });
    await held.suspend('go', 'sooner');
    const { waitpoints } = await desk.admin.listPendingWaitpoints({ namespace });
    expect(waitpoints).toMatchObject([
      { key: 'soonest', state: WaitpointState.PENDING, executionId: held.id, signalCount: 0, token: '' },
      { key: 'sooner', state: WaitpointState.ACTIVE, token: '' },
      { key: 'later', state: WaitpointState.PENDING, token: '' },
    ]);
    const [first] = waitpoints;
    if (!first?.createTime || !first.expireTime) throw new Error('times are missing');
    const spanMs = timestampDate(first.expireTime).getTime() - timestampDate(first.createTime).getTime();
    expect(Math.abs(spanMs - 1_800_000)).toBeLessThanOrEqual(1);
    expect(await keys(namespace, { states: [WaitpointState.ACTIVE] })).toEqual(['sooner']);
    expect(await keys(namespace, { states: [WaitpointState.PENDING] })).toEqual(['soonest', 'later']);
    expect(await keys(namespace, { executionId: over.id })).toEqual([]);
    expect(await keys(namespace, { executionId: held.id })).toHaveLength(3);
    expect(await keys('elsewhere', { executionId: held.id })).toEqual([]);
    const refused = await refusal(desk.admin.listPendingWaitpoints({ namespace, states: [WaitpointState.CLOSED] }));
    expect(refused.fieldViolations).toMatchObject([{ field: 'states' }]);
  });

  it('leaves out what expires, at once', async () => {
    const namespace = 'expiring';
    const held = await hold(namespace);
    const { expireTime } = await held.waitpoint('door', seconds(5));
    expect(await keys(namespace)).toEqual(['door']);
    await eventually(async () => (await keys(namespace)).length === 0);
    expect(await keys(namespace, { executionId: held.id })).toEqual([]);
    const { serverTime } = await desk.admin.getServerInfo({});
    expect(serverTime && expireTime && serverTime.seconds >= expireTime.seconds).toBe(true);
  });

  it('turns its pages, of all and of one execution, and goes on past what it read in vain', async () => {
    const namespace = 'corridor';
    const [held, other] = [await hold(namespace), await hold(namespace)];
    for (let i = 0; i < 7; i++) await (i % 3 === 0 ? other : held).waitpoint(`door ${i}`, seconds(1_000 + i));
    for (const executionId of ['', held.id]) {
      const whole = await keys(namespace, { executionId });
      const seen: string[] = [];
      let pageToken = '';
      do {
        const asked = { namespace, executionId, pageSize: 2, pageToken };
        const page = await desk.admin.listPendingWaitpoints(asked);
        seen.push(...page.waitpoints.map(({ key }) => key));
        pageToken = page.nextPageToken;
      } while (pageToken !== '');
      expect(seen).toEqual(whole);
      expect(seen).toHaveLength(executionId === '' ? 7 : 4);
    }
    await other.complete();
    const id = await desk.core.registry.namespaceFor(namespace);
    const filter = { namespace: id, execution: null, states: null };
    const seen: string[] = [];
    let after: Parameters<typeof listWaitpoints>[2];
    do {
      const page = await listWaitpoints(desk.core.database, filter, after, 5, 2);
      seen.push(...page.waitpoints.map(({ key }) => key));
      after = page.next;
    } while (after !== undefined);
    expect(seen).toEqual(['door 1', 'door 2', 'door 4', 'door 5']);
  });
});

describe('ResumeExecution', () => {
  it('lets a parked execution go on with the signal of an operator, whatever it waits for', async () => {
    const namespace = 'resumed';
    const held = await hold(namespace);
    const { fencingToken = 0n } = held.claim.lease ?? {};
    await held.suspend('', '', { condition: { condition: { case: 'operatorOnly', value: {} } } });
    const { state } = await desk.admin.resumeExecution({
      namespace,
      executionId: held.id,
      suspensionNumber: 1,
      signalName: 'approved',
      payload: text('as an exception'),
      actor: 'ada',
      note: 'called the customer',
    });
    expect(state).toBe(ExecutionState.QUEUED);
    const claim = await held.claimAgain();
    expect(claim.attemptNumber).toBe(1);
    expect(claim.lease?.fencingToken).toBeGreaterThan(fencingToken);
    expect(claim.resume).toMatchObject({
      cause: ResumeCause.OPERATOR,
      suspensionNumber: 1,
      moreSignals: false,
      signals: [
        {
          name: 'approved',
          source: SignalSource.OPERATOR,
          sourceId: 'ada',
          payload: { body: { case: 'text', value: 'as an exception' } },
          waitpointKey: '',
        },
      ],
    });
    await desk.caughtUp();
    const kinds = [LogEntryKind.SIGNAL_RECEIVED, LogEntryKind.EXECUTION_RESUMED];
    const { entries } = await desk.admin.listLogEntries({ namespace, filter: { kinds, executionId: held.id } });
    expect(entries.map(({ kind }) => kind).sort()).toEqual([...kinds].sort());
    const told = entries.find(({ kind }) => kind === LogEntryKind.SIGNAL_RECEIVED);
    expect(told).toMatchObject({ actor: 'ada', reason: 'called the customer' });
  });

  it('names the signal for those who name none', async () => {
    const namespace = 'nameless';
    const held = await hold(namespace);
    await held.suspend('go');
    await desk.admin.resumeExecution({ namespace, executionId: held.id });
    const { resume } = await held.claimAgain();
    expect(resume?.signals).toMatchObject([{ name: 'resume', source: SignalSource.OPERATOR, sourceId: '' }]);
  });

  it('lets it go where it must wait: for its delay, or for its key', async () => {
    const namespace = 'patient';
    const delayed = await hold(namespace);
    await delayed.suspend('go', '', { resumeDelay: seconds(60) });
    expect((await desk.admin.resumeExecution({ namespace, executionId: delayed.id })).state).toBe(
      ExecutionState.SCHEDULED,
    );
    await desk.admin.updateLane({ namespace, lane: 'keyed', settings: { defaultKeyLimit: 1 } });
    const spec = { lane: 'keyed', concurrencyKey: 'one at a time' };
    const first = await hold(namespace, spec);
    await first.suspend('go');
    const second = await hold(namespace, spec);
    expect((await desk.admin.resumeExecution({ namespace, executionId: first.id })).state).toBe(ExecutionState.BLOCKED);
    await second.complete();
    expect((await first.claimAgain()).resume?.cause).toBe(ResumeCause.OPERATOR);
  });

  it('is refused for what is not parked, not so any more, or not there', async () => {
    const namespace = 'refused';
    const resume = (executionId: string, more: { suspensionNumber?: number } = {}) =>
      refusal(desk.admin.resumeExecution({ namespace, executionId, ...more }));
    const held = await hold(namespace);
    expect(await resume(held.id)).toMatchObject({ reason: 'NOT_SUSPENDED', metadata: { state: 'RUNNING' } });
    await held.suspend('go');
    expect(await resume(held.id, { suspensionNumber: 2 })).toMatchObject({
      reason: 'NOT_SUSPENDED',
      metadata: { state: 'SUSPENDED' },
    });
    await desk.admin.resumeExecution({ namespace, executionId: held.id, suspensionNumber: 1 });
    // A repeat changes nothing, also when it is parked again by then.
    expect(await resume(held.id, { suspensionNumber: 1 })).toMatchObject({
      reason: 'NOT_SUSPENDED',
      metadata: { state: 'QUEUED' },
    });
    await held.claimAgain();
    await held.suspend('go again');
    expect((await resume(held.id, { suspensionNumber: 1 })).reason).toBe('NOT_SUSPENDED');
    await desk.admin.resumeExecution({ namespace, executionId: held.id, suspensionNumber: 2 });
    await held.claimAgain();
    await held.complete();
    expect(await resume(held.id)).toMatchObject({ reason: 'EXECUTION_TERMINAL', metadata: { state: 'SUCCEEDED' } });
    expect((await resume('01999999-9999-7999-8999-999999999999')).reason).toBe('EXECUTION_NOT_FOUND');
    const elsewhere = desk.admin.resumeExecution({ namespace: 'elsewhere', executionId: held.id });
    expect((await refusal(elsewhere)).reason).toBe('EXECUTION_NOT_FOUND');
  });

  it('by many at once resumes it once', async () => {
    const namespace = 'rush';
    const held = await hold(namespace);
    await held.suspend('go');
    const calls = Array.from({ length: 8 }, () =>
      desk.admin.resumeExecution({ namespace, executionId: held.id, suspensionNumber: 1 }).then(
        () => 'resumed',
        async (error: unknown) => (await refusal(Promise.reject(error))).reason,
      ),
    );
    const answers = await Promise.all(calls);
    expect(answers.filter((answer) => answer === 'resumed')).toHaveLength(1);
    expect(new Set(answers)).toEqual(new Set(['resumed', 'NOT_SUSPENDED']));
    expect((await held.claimAgain()).resume?.signals).toHaveLength(1);
  });
});
