/** E14: limits of lanes and keys as an operator sets them, and keys as executions carry them. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { BlockKind } from '../../gen/tailrace/v1/execution_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { only, refusal, seconds } from '../support/by-hand.js';
import { Recorded } from '../support/history/recorded.js';
import { WaitsByHand } from '../support/waits-by-hand.js';

let recorded: Recorded;
let hand: WaitsByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = new WaitsByHand(recorded.clients);
});
afterAll(() => recorded.stop());

const LIMITS = ['concurrencyLimit', 'rateLimit', 'defaultKeyLimit', 'keyLimits'] as const;

async function settingsOf(lane: string) {
  const { lane: found } = await recorded.clients.admin.getLane({ lane });
  return Object.fromEntries(LIMITS.map((limit) => [limit, found?.settings?.[limit]]));
}

const keys = (count: number) => Array.from({ length: count }, (_, i) => ({ key: `key ${i}`, limit: i % 7 }));

describe('limits of a lane', () => {
  it('are none at first, are set whole, and are shown', async () => {
    const lane = 'whole';
    await recorded.clients.admin.updateLane({ lane });
    expect(await settingsOf(lane)).toMatchObject({ concurrencyLimit: 0, defaultKeyLimit: 0, keyLimits: [] });
    expect((await settingsOf(lane))['rateLimit']).toBeUndefined();
    const set = await hand.setLane(lane, {
      concurrencyLimit: 5,
      rateLimit: { limit: 10 },
      defaultKeyLimit: 2,
      keyLimits: [
        { key: 'b', limit: 3 },
        { key: 'a', weight: 7 },
      ],
    });
    const shown = {
      concurrencyLimit: 5,
      rateLimit: { limit: 10, window: { seconds: 1n } },
      defaultKeyLimit: 2,
      keyLimits: [
        { key: 'a', limit: 0, weight: 7 },
        { key: 'b', limit: 3, weight: 1 },
      ],
    };
    expect(set).toMatchObject({ version: 2n, settings: shown });
    expect(await settingsOf(lane)).toMatchObject(shown);
    const listed = await recorded.clients.admin.listLanes({});
    expect(listed.lanes.find((each) => each.lane === lane)?.settings).toMatchObject(shown);
    const cleared = await hand.setLane(lane, {});
    expect(cleared).toMatchObject({
      version: 3n,
      settings: { concurrencyLimit: 0, defaultKeyLimit: 0, keyLimits: [] },
    });
    expect(cleared.settings).not.toHaveProperty('rateLimit');
  });

  it('are set one by one, the others staying as they are', async () => {
    const lane = 'masked';
    const all = {
      concurrencyLimit: 4,
      rateLimit: { limit: 6, window: seconds(60) },
      defaultKeyLimit: 3,
      keyLimits: keys(2),
    };
    await hand.setLane(lane, all);
    const update = async (path: string, settings = {}) =>
      (await recorded.clients.admin.updateLane({ lane, settings, updateMask: { paths: [path] } })).lane?.settings;
    expect(await update('concurrency_limit', { concurrencyLimit: 9, rateLimit: { limit: 1 } })).toMatchObject({
      ...all,
      concurrencyLimit: 9,
    });
    const unrated = await update('rate_limit');
    expect(unrated).toMatchObject({ concurrencyLimit: 9, defaultKeyLimit: 3, keyLimits: keys(2) });
    expect(unrated).not.toHaveProperty('rateLimit');
    expect(await update('default_key_limit')).toMatchObject({
      concurrencyLimit: 9,
      defaultKeyLimit: 0,
      keyLimits: keys(2),
    });
    const replaced = [{ key: 'key 1', limit: 5, weight: 2 }];
    expect(await update('key_limits', { keyLimits: replaced })).toMatchObject({
      concurrencyLimit: 9,
      keyLimits: replaced,
    });
    expect(await update('aging_interval', { agingInterval: seconds(5) })).toMatchObject({
      concurrencyLimit: 9,
      keyLimits: replaced,
    });
    expect(await update('key_limits')).toMatchObject({ concurrencyLimit: 9, keyLimits: [] });
  });

  it('that are the same are no change, and each change is told', async () => {
    const lane = 'told';
    const settings = { concurrencyLimit: 4, defaultKeyLimit: 1, keyLimits: keys(3) };
    const first = await hand.setLane(lane, settings);
    expect((await hand.setLane(lane, settings)).version).toBe(first.version);
    const stale = { lane, settings: {}, expectedVersion: first.version + 1n };
    expect(await refusal(recorded.clients.admin.updateLane(stale))).toMatchObject({ reason: 'VERSION_CONFLICT' });
    const updateMask = { paths: ['concurrency_limit'] };
    await recorded.clients.admin.updateLane({ lane, updateMask, expectedVersion: first.version, reason: 'less' });
    const entries = await recorded.log.entries;
    await recorded.log.entry(({ kind, reason }) => kind === LogEntryKind.LANE_UPDATED && reason === 'less');
    const told = entries.filter(({ kind, body }) => kind === LogEntryKind.LANE_UPDATED && inLane(lane, body));
    expect(told.length).toBe(2);
  });

  it('take ten thousand keys, and a list of lanes shows as many as fit', async () => {
    for (const lane of ['many 1', 'many 2', 'many 3', 'many 4']) await hand.setLane(lane, { keyLimits: keys(10_000) });
    expect((await settingsOf('many 1'))['keyLimits']).toHaveLength(10_000);
    const found: string[] = [];
    let pages = 0;
    for (let pageToken = '', more = true; more; pages++) {
      const page = await recorded.clients.admin.listLanes({ pageToken });
      found.push(...page.lanes.map(({ lane }) => lane));
      pageToken = page.nextPageToken;
      more = pageToken !== '';
    }
    expect(found).toEqual([...new Set(found)].sort());
    expect(found).toEqual(expect.arrayContaining(['many 1', 'many 4', 'told', 'whole']));
    expect(pages).toBeGreaterThan(1);
  });

  it('refuse what is no limit, naming all of it', async () => {
    const settings = {
      concurrencyLimit: -1,
      rateLimit: { limit: 0, window: seconds(100_000) },
      defaultKeyLimit: -1,
      keyLimits: [{ key: '' }, { key: 'k', limit: -1, weight: 101 }, { key: 'k' }, { key: 'é'.repeat(101) }],
    };
    const updateMask = { paths: ['rate_limit.window'] };
    const refused = await refusal(recorded.clients.admin.updateLane({ lane: 'refused', settings, updateMask }));
    expect(refused.reason).toBe('INVALID_FIELD');
    expect(refused.fieldViolations.map(({ field }) => field).sort()).toEqual([
      'settings.concurrency_limit',
      'settings.default_key_limit',
      'settings.key_limits[0].key',
      'settings.key_limits[1].limit',
      'settings.key_limits[1].weight',
      'settings.key_limits[3].key',
      'settings.rate_limit.limit',
      'settings.rate_limit.window',
      'update_mask.paths[0]',
    ]);
    const twice = { lane: 'refused', settings: { keyLimits: [{ key: 'k' }, { key: 'l' }, { key: 'k' }] } };
    expect((await refusal(recorded.clients.admin.updateLane(twice))).fieldViolations).toMatchObject([
      { field: 'settings.key_limits[2].key', description: expect.stringContaining('twice') },
    ]);
    const tooMany = { lane: 'refused', settings: { keyLimits: keys(10_001) } };
    expect((await refusal(recorded.clients.admin.updateLane(tooMany))).fieldViolations).toMatchObject([
      { field: 'settings.key_limits' },
    ]);
    expect(await refusal(recorded.clients.admin.getLane({ lane: 'refused' }))).toMatchObject({
      reason: 'LANE_NOT_FOUND',
    });
  });
});

describe('the concurrency key of an execution', () => {
  it('is shown, and is what it waits for', async () => {
    const lane = 'shown';
    await hand.setLane(lane, { defaultKeyLimit: 1 });
    const [first = '', second = ''] = await hand.create({ lane, concurrencyKey: 'k' }, { lane, concurrencyKey: 'k' });
    expect(await hand.execution(first)).toMatchObject({ state: ExecutionState.QUEUED, concurrencyKey: 'k' });
    expect(await hand.execution(second)).toMatchObject({
      state: ExecutionState.BLOCKED,
      concurrencyKey: 'k',
      block: { kind: BlockKind.CONCURRENCY_KEY, subject: 'k' },
    });
    const { executions } = await recorded.clients.admin.listExecutions({
      filter: { lanes: [lane], states: [ExecutionState.BLOCKED] },
    });
    expect(only(executions).executionId).toBe(second);
    const claim = await hand.claimOne({ lanes: [{ lane }] });
    expect(claim).toMatchObject({ executionId: first, concurrencyKey: 'k' });
    await hand.complete(claim);
    await hand.complete(await hand.claimOne({ lanes: [{ lane }] }));
  });

  it('has bounds, and is part of the content that a request id stands for', async () => {
    const create = (spec: object) => hand.createOne({ lane: 'bounds', ...spec });
    const long = await refusal(create({ concurrencyKey: 'k'.repeat(201) }));
    expect(long).toMatchObject({ fieldViolations: [{ field: 'executions[0].concurrency_key' }] });
    const both = await refusal(create({ concurrencyKey: 'k', orderingKey: 'o' }));
    expect(both).toMatchObject({ reason: 'INVALID_FIELD' });
    const id = await create({ requestId: 'r', concurrencyKey: 'k' });
    expect(await create({ requestId: 'r', concurrencyKey: 'k' })).toBe(id);
    expect(await refusal(create({ requestId: 'r', concurrencyKey: 'l' }))).toMatchObject({
      reason: 'REQUEST_ID_REUSED',
    });
    await hand.cancel(id);
  });

  it('goes along with members, children and redrives', async () => {
    const flow = await hand.flow({
      members: { a: { concurrencyKey: 'm' }, b: { concurrencyKey: 'm' } },
      links: [['a', 'b']],
    });
    const a = await flow.claim('a');
    expect(a.concurrencyKey).toBe('m');
    const { childExecutionIds } = await hand.waitForChildren(a, [
      { name: 'child', execution: { type: 'child', lane: 'children', concurrencyKey: 'c' } },
    ]);
    const child = only(childExecutionIds);
    expect(await hand.execution(child)).toMatchObject({ concurrencyKey: 'c' });
    await hand.fail(await hand.claimNamed(child), FailureClass.PERMANENT);
    const { deadLetters } = await recorded.clients.deadLetters.listDeadLetters({ filter: { executionId: child } });
    const { executionId } = await recorded.clients.deadLetters.redriveDeadLetter({
      deadLetterId: only(deadLetters).deadLetterId,
    });
    expect(await hand.execution(executionId)).toMatchObject({ concurrencyKey: 'c' });
    await hand.complete(await hand.claimNamed(executionId));
    await hand.fail(await flow.claim('a'), FailureClass.PERMANENT);
    await flow.ended();
    const b = flow.of('b');
    expect(await hand.execution(b)).toMatchObject({ state: ExecutionState.SKIPPED, concurrencyKey: 'm' });
    const { deadLetters: ofA } = await recorded.clients.deadLetters.listDeadLetters({
      filter: { executionId: flow.of('a') },
    });
    const again = await recorded.clients.deadLetters.redriveDeadLetter({ deadLetterId: only(ofA).deadLetterId });
    for (const id of [again.executionId, only(again.downstreamExecutionIds)]) {
      expect(await hand.execution(id)).toMatchObject({ concurrencyKey: 'm' });
      await hand.complete(await hand.claimNamed(id));
    }
  });
});

function inLane(lane: string, body: { readonly case?: string | undefined; readonly value?: unknown }): boolean {
  return body.case === 'details' && JSON.stringify(body.value).includes(`"lane":"${lane}"`);
}
