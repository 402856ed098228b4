/** Whoever waits for room in a limited lane is told of it by the server that made it, without its pulse. */
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CancelMode } from '../../gen/tailrace/v1/cancel_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { seconds } from '../support/by-hand.js';
import { Recorded } from '../support/history/recorded.js';
import { HoldingProxy } from '../support/holding-proxy.js';
import { from } from '../support/keyed-by-hand.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';
import { WaitsByHand } from '../support/waits-by-hand.js';

let database: TestDatabase;
let proxy: HoldingProxy;
let recorded: Recorded;
let hand: WaitsByHand;
beforeAll(async () => {
  database = await freshDatabase();
  const before = await HoldingProxy.before(database.url);
  proxy = before.proxy;
  recorded = await Recorded.start({ database, environment: { DATABASE_URL: before.url } });
  hand = new WaitsByHand(recorded.clients);
});
afterAll(async () => {
  await recorded.stop();
  await proxy.close();
  await database.drop();
});

const nothing = async () => undefined;
const ways: readonly [string, (claim: Claim) => Promise<unknown>][] = [
  ['is canceled', ({ executionId }) => hand.cancel(executionId, { policy: { mode: CancelMode.NOW } })],
  ['loses its lease to an operator', ({ executionId }) => recorded.clients.admin.revokeLease({ executionId })],
  ['waits for children', (claim) => hand.waitForChildren(claim, [{ execution: { type: 'child', lane: 'children' } }])],
  ['is lost', nothing],
];

test.each(ways)('the next one starts when one %s', async (name, way) => {
  const lane = name;
  await hand.putQuota(lane, 1);
  await hand.create({ lane, retryPolicy: { maxAttempts: 1 } }, { lane, priority: -1 });
  const pulse = proxy.hold('sweeping.pulse', 'before');
  await pulse.reached;
  const running = await hand.claimOne({ ...from(lane), leaseDuration: seconds(way === nothing ? 1 : 60) });
  const waiting = hand.claim({ ...from(lane), wait: seconds(20) });
  await recorded.clients.admin.getServerInfo({});
  await way(running);
  const claims = await waiting;
  pulse.release();
  expect(claims).toHaveLength(1);
  for (const claim of claims) await hand.complete(claim);
});

test('the next one of its key starts when the first in line is put off', async () => {
  const lane = 'put off';
  await hand.setLane(lane, { defaultKeyLimit: 1 });
  const [first, second] = await hand.create(
    { lane, concurrencyKey: 'k' },
    { lane, concurrencyKey: 'k', type: 'other' },
  );
  const pulse = proxy.hold('sweeping.pulse', 'before');
  await pulse.reached;
  const waiting = hand.claim({ ...from(lane), types: ['other'], wait: seconds(20) });
  await recorded.clients.admin.getServerInfo({});
  const later = timestampFromMs(Date.now() + 3_600_000);
  await recorded.clients.admin.changeExecution({ executionId: first ?? '', runTime: later });
  const claims = await waiting;
  pulse.release();
  expect(claims.map(({ executionId }) => executionId)).toEqual([second]);
  for (const claim of claims) await hand.complete(claim);
});
