/**
 * Crash points of events: what is published or emitted, and all that it starts, survives the death of the server after every
 * statement that matters. Each execution is made once, also where the same is asked again.
 */
import { describe, expect, test } from 'vitest';
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { JoinState } from '../../../gen/tailrace/v1/join_pb.js';
import { refusal, seconds } from '../../support/by-hand.js';
import { crashAt, type Operation } from '../../support/crash-point.js';
import { EventsByHand } from '../../support/events-by-hand.js';
import { eventually } from '../../support/eventually.js';

const PUBLISHED = /^events\.publish$/;
const EMITTED = /^leases\.complete-with-events$/;
const ROUTED = /^sweeping\.routes$/;
const either = (...kinds: readonly RegExp[]) => new RegExp(kinds.map(({ source }) => source).join('|'));

const long = { leaseDuration: seconds(600) };
const byStream = { orderingKey: { source: { case: 'stream' as const, value: true } } };

let made = 0;

/** Each event that is named, once; and no others. */
async function startedBy(hand: EventsByHand, subscription: string, ids: readonly string[]): Promise<void> {
  const triggers = async () => (await hand.reactionsOf(subscription)).map(({ triggerEventId }) => triggerEventId);
  await eventually(async () => (await triggers()).length >= ids.length);
  expect((await triggers()).sort()).toEqual([...ids].sort());
}

const OPERATIONS: Readonly<Record<string, Operation<EventsByHand>>> = {
  'events that start something at once, and something in order': {
    matters: either(PUBLISHED, ROUTED),
    points: [1, 2],
    prepare: async (hand) => {
      const type = `placed ${++made}`;
      const filter = { eventTypes: [type] };
      await hand.subscribe(`at once ${type}`, { filter });
      await hand.subscribe(`in order ${type}`, { filter, ...byStream });
      const ids = [1, 2, 3].map((n) => `${type}, ${n}`);
      const events = ids.map((eventId) => ({ eventId, type, stream: type }));
      return {
        act: async (caller) => await caller.publish(...events),
        finished: async (there) => {
          for (const { duplicate } of await there.publish(...events)) expect(duplicate).toBe(true);
          await startedBy(there, `at once ${type}`, ids);
          await startedBy(there, `in order ${type}`, ids);
          for (const id of ids) {
            const claim = await there.claimOne({ lanes: [{ lane: `in order ${type}` }], maxExecutions: 3, ...long });
            expect(claim.trigger?.subject.value).toMatchObject({ eventId: id });
            await there.complete(claim);
          }
        },
      };
    },
  },
  'a completion with events': {
    matters: either(EMITTED, ROUTED),
    points: [1, 2],
    prepare: async (hand) => {
      const type = `paid ${++made}`;
      await hand.subscribe(`at once ${type}`, { filter: { eventTypes: [type] } });
      await hand.subscribe(`in order ${type}`, { filter: { eventTypes: [type] }, ...byStream });
      const claim = await hand.claimNamed(await hand.createOne({ lane: `payers ${made}` }), long);
      const events = [1, 2].map(() => ({ type, stream: type }));
      let ids: readonly string[] = [];
      return {
        act: async (caller) => {
          ids = (await caller.completeWith(claim, ...events)).eventIds;
        },
        finished: async (there) => {
          expect(await there.completeWith(claim, ...events)).toMatchObject({ duplicate: true, eventIds: ids });
          for (const which of ['at once', 'in order']) await startedBy(there, `${which} ${type}`, ids);
        },
      };
    },
  },
  'an event that too many want to start in one transaction': {
    matters: either(PUBLISHED, ROUTED),
    points: [2],
    prepare: async (hand) => {
      const type = `popular ${++made}`;
      const names = Array.from({ length: 12 }, (_, i) => `${type}, ${i}`);
      for (const name of names) await hand.subscribe(name, { filter: { eventTypes: [type] } });
      return {
        act: async (caller) => await caller.publishOne({ eventId: type, type }),
        finished: async (there) => {
          for (const name of names) await startedBy(there, name, [type]);
        },
      };
    },
  },
  'a batch that is joined': {
    matters: either(PUBLISHED, ROUTED, EMITTED),
    points: [2, 3],
    prepare: async (hand) => {
      const type = `part ${++made}`;
      const [maker, joiner] = [`maker ${type}`, `joiner ${type}`];
      await hand.subscribe(maker, { filter: { eventTypes: [type] } });
      await hand.subscribe(joiner, { filter: { eventTypes: [`made ${type}`] }, batchJoin: {} });
      const ids = [0, 1, 2].map((n) => `${type}, ${n}`);
      const parts = ids.map((eventId) => ({ eventId, type, batchGroup: 'all' }));
      const work = async (caller: EventsByHand) => {
        await caller.publish(...parts);
        const claims = await caller.claim({
          lanes: [{ lane: maker }],
          maxExecutions: 3,
          wait: seconds(0.1),
          leaseDuration: seconds(1),
        });
        for (const claim of claims) await caller.completeWith(claim, { type: `made ${type}` }).catch(orLate);
        return claims.length;
      };
      return {
        act: work,
        finished: async (there) => {
          await eventually(async () => {
            await work(there);
            return (await there.reactionsOf(maker)).every(({ state }) => state === ExecutionState.SUCCEEDED);
          });
          await startedBy(there, maker, ids);
          const claim = await there.claimOne({ lanes: [{ lane: joiner }], ...long });
          expect(claim.joinedInputs.map(({ index }) => index)).toEqual([0, 1, 2]);
          await there.complete(claim);
          const { joins } = await there.clients.admin.listJoins({ subscription: joiner });
          expect(joins).toMatchObject([{ state: JoinState.SATISFIED, okCount: 3 }]);
        },
      };
    },
  },
};

/** Its lease has ended meanwhile. */
const orLate = async (error: unknown) => await refusal(Promise.reject(error));

describe.concurrent.each(Object.entries(OPERATIONS))('%s', (_, operation) => {
  test.each(operation.points)('survives a server that dies after statement %i', async (point) => {
    await crashAt(point, operation, (clients) => new EventsByHand(clients));
  });
});
