/** Who publishes does not wait until very many subscriptions have been asked about very many events. */
import { create } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { EventSpecSchema } from '../../../gen/tailrace/v1/event_pb.js';
import { SubscriptionSpecSchema } from '../../../gen/tailrace/v1/subscription_pb.js';
import { publishEvents } from '../../../src/repository/events/index.js';
import { internClasses } from '../../../src/repository/registry/index.js';
import { putSubscription } from '../../../src/repository/subscriptions/index.js';
import { subscriptionSpec, toRule } from '../../../src/services/admin/subscriptions/spec.js';
import { eventSpec } from '../../../src/services/engine/events/event-spec.js';
import { planPublication } from '../../../src/services/engine/events/plan.js';
import { validate } from '../../../src/services/validation.js';
import { NAMESPACE } from '../../support/direct.js';
import { ExplainedSession } from '../../support/explained.js';
import { freshDatabase, type TestDatabase } from '../../support/postgres.js';

/** No router runs beside it: what is left to it stays. */
let fresh: TestDatabase;
let session: ExplainedSession;
beforeAll(async () => {
  fresh = await freshDatabase();
  session = await ExplainedSession.open(fresh);
});
afterAll(async () => {
  await session.close();
  await fresh.drop();
});

const PAYLOAD_BYTES = 1_000;
const SUBSCRIPTIONS = 40;
const BEGINNING = create(SubscriptionSpecSchema, { name: 'wide', eventTypePrefixes: ['w.'], type: 'never' });

async function leftOf(count: number, type: string): Promise<number> {
  const asked = validate(eventSpec(PAYLOAD_BYTES), create(EventSpecSchema, { type }));
  const events = planPublication(
    Array.from({ length: count }, () => asked),
    NAMESPACE,
    false,
  );
  await publishEvents(session, [events.map(({ event }) => event)], { most: 8, maxMembers: 1_000 });
  const left = await session.sql('delete from {schema}.unrouted returning subscription');
  expect(left.every(({ subscription }) => subscription === 0)).toBe(true);
  return left.length;
}

test('what would be looked at too often while its publisher waits is left to the router', async () => {
  const spec = validate(subscriptionSpec(PAYLOAD_BYTES), BEGINNING);
  const [line] = await internClasses(session, [
    { namespace: NAMESPACE, lane: 'lane', type: 'never', capabilities: [] },
  ]);
  const rule = { ...toRule(spec, BEGINNING, line?.id ?? 0), match_headers: { to: 'nobody' } };
  for (let i = 0; i < SUBSCRIPTIONS; i++) {
    const asked = { namespace: NAMESPACE, name: `wide ${i}`, rule, from: null, expectedVersion: 0n, actor: '' };
    await putSubscription(session, asked);
  }
  // Also for events of other types: whoever wants a beginning is asked about each.
  expect(await leftOf(500, 'w.x')).toBe(0);
  expect(await leftOf(501, 'x')).toBe(501);
});
