/**
 * Crash points: what a commit decides, and what must follow it in commits of their own, survives the death of the server
 * between any two of them. The server is killed when the database has done the n-th statement that matters and nobody was
 * told; another one, started only then, finishes it.
 */
import { describe, expect, test } from 'vitest';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { CancelMode } from '../../gen/tailrace/v1/cancel_pb.js';
import { FlowState } from '../../gen/tailrace/v1/flow_pb.js';
import { JoinMode, OnJoinTimeout, OnSatisfied } from '../../gen/tailrace/v1/join_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { verify } from '../../src/repository/verification/index.js';
import { leaseOf, seconds, text } from '../support/by-hand.js';
import { CrashProxy } from '../support/crash-proxy.js';
import { eventually } from '../support/eventually.js';
import { FlowsByHand, type Link, MadeFlow } from '../support/flows-by-hand.js';
import { freshDatabase } from '../support/postgres.js';
import { ServerProcess } from '../support/server-process.js';
import { clientsOf, startTailrace } from '../support/tailrace.js';

/** Statements that only look, keep the log or the registry, and decide nothing about flows. */
const ASIDE =
  /^(log|registry|workers|inspection|verification|dead-letters)\.|^sweeping\.(pulse|partitions|scheduled)|^claims\.(heads|horizon)|^flows\.(get|list|members|default-names|edges|joins|tree|wait|failed|count|live)/;
const now = { mode: CancelMode.NOW };
const long = { leaseDuration: seconds(600) };

interface Prepared {
  readonly flow: MadeFlow;
  /** What decides; made again by whoever finds that it was not committed. */
  readonly act: (hand: FlowsByHand) => Promise<unknown>;
  /** Whether it was committed. */
  readonly decided: (flow: MadeFlow) => Promise<boolean>;
  /** By the other server alone. */
  readonly finished: (flow: MadeFlow) => Promise<void>;
}

interface Operation {
  /** After which statements that matter, counted from the act, the server dies. */
  readonly points: readonly number[];
  readonly prepare: (hand: FlowsByHand) => Promise<Prepared>;
}

const names = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix} ${i}`);
const specs = (members: readonly string[], more = {}) => Object.fromEntries(members.map((name) => [name, more]));

async function claimAll(flow: MadeFlow, count: number, types: string[] = []): Promise<Claim[]> {
  const claims: Claim[] = [];
  while (claims.length < count) {
    const ask = { lanes: [{ lane: flow.lane }], types, maxExecutions: 500, wait: seconds(10), ...long };
    const taken = await flow.hand.claim(ask);
    if (taken.length === 0) throw new Error(`${claims.length} of ${count} became claimable`);
    claims.push(...taken);
  }
  return claims;
}

const completeAll = (claims: readonly Claim[]) => async (hand: FlowsByHand) =>
  await hand.clients.engine.completeExecutions({
    completions: claims.map((claim) => ({ lease: leaseOf(claim), result: text('done') })),
  });

const ended = (name: string) => async (flow: MadeFlow) => (await flow.look(name)).outcome !== undefined;

async function expectEnds(flow: MadeFlow, state: string, members: readonly string[]): Promise<void> {
  for (const name of members) expect((await flow.end(name)).state).toBe(state);
}

const OPERATIONS: Readonly<Record<string, Operation>> = {
  'a wide fan-out': {
    points: [1, 2, 3, 4],
    prepare: async (hand) => {
      const fans = names('fan', 1_300);
      const flow = await hand.flow({
        members: { root: {}, ...specs(fans, { type: 'fan' }) },
        links: fans.map((name): Link => ['root', name]),
      });
      return {
        flow,
        act: completeAll([await flow.claim('root', long)]),
        decided: ended('root'),
        finished: async (there) => {
          const claims = await claimAll(there, 1_300, ['fan']);
          expect(new Set(claims.map(({ executionId }) => executionId)).size).toBe(1_300);
          for (let i = 0; i < 1_300; i += 500) await completeAll(claims.slice(i, i + 500))(there.hand);
          expect((await there.ended()).state).toBe(FlowState.SUCCEEDED);
        },
      };
    },
  },
  'the fold of what fills a wide join': {
    points: [1, 2, 3],
    prepare: async (hand) => {
      const ups = names('up', 200);
      const flow = await hand.flow({
        members: { last: {}, ...specs(ups, { type: 'up' }) },
        links: ups.map((name): Link => [name, 'last']),
      });
      return {
        flow,
        act: completeAll(await claimAll(flow, 200, ['up'])),
        decided: ended('up 0'),
        finished: async (there) => {
          const claim = await there.claim('last');
          expect(claim.joinedInputs).toHaveLength(200);
          await there.hand.complete(claim);
          expect((await there.ended()).state).toBe(FlowState.SUCCEEDED);
          expect(await there.join('last')).toMatchObject({ okCount: 200, lateCount: 0 });
        },
      };
    },
  },
  'the cancel of many members': {
    points: [1, 2, 3, 4],
    prepare: async (hand) => {
      const all = names('member', 1_500);
      const flow = await hand.flow({ members: specs(all, { type: 'member' }) });
      await claimAll(flow, 500, ['member']);
      return {
        flow,
        act: async ({ clients }) => await clients.engine.cancelFlow({ flowId: flow.id, policy: now }),
        decided: async (there) => [FlowState.CANCELING, FlowState.CANCELED].includes((await there.get()).state),
        finished: async (there) => {
          expect((await there.ended()).state).toBe(FlowState.CANCELED);
          await expectEnds(there, 'CANCELED', [all[0] ?? '', all[700] ?? '', all[1_499] ?? '']);
        },
      };
    },
  },
  'the cancel of the losers of a join': {
    points: [1, 2, 3],
    prepare: async (hand) => {
      const ups = names('up', 200);
      const flow = await hand.flow({
        members: { last: {}, ...specs(ups, { type: 'up' }) },
        links: ups.map((name): Link => [name, 'last']),
        joins: { last: { mode: JoinMode.ANY, onSatisfied: OnSatisfied.CANCEL_REST } },
      });
      const [winner, ...others] = await claimAll(flow, 200, ['up']);
      if (!winner) throw new Error('nobody to win');
      return {
        flow,
        act: completeAll([winner]),
        decided: async (there) => (await there.hand.look(winner.executionId)).outcome !== undefined,
        finished: async (there) => {
          await there.complete('last');
          expect((await there.ended()).state).toBe(FlowState.SUCCEEDED);
          const states = Object.values(await there.states());
          expect(states.filter((state) => state === 'CANCELED')).toHaveLength(others.length);
        },
      };
    },
  },
  'the look whether a flow has settled': {
    points: [1, 2],
    prepare: async (hand) => {
      const flow = await hand.flow({ members: { only: {} } });
      return {
        flow,
        act: completeAll([await flow.claim('only', long)]),
        decided: ended('only'),
        finished: async (there) => expect((await there.ended()).state).toBe(FlowState.SUCCEEDED),
      };
    },
  },
  'a cascade of what is skipped': {
    points: [1, 2, 3, 4],
    prepare: async (hand) => {
      const steps = names('step', 6);
      const flow = await hand.flow({
        members: specs(steps),
        links: steps.slice(1).map((name, i): Link => [`step ${i}`, name]),
      });
      const claim = await flow.claim('step 0', long);
      return {
        flow,
        act: async (caller) => await caller.fail(claim, FailureClass.PERMANENT),
        decided: ended('step 0'),
        finished: async (there) => {
          await expectEnds(there, 'SKIPPED', steps.slice(1));
          expect((await there.ended()).state).toBe(FlowState.FAILED);
        },
      };
    },
  },
  'the end of the children of who waits for them': {
    points: [1, 2],
    prepare: async (hand) => {
      const flow = await hand.flow({ members: { parent: {} } });
      const execution = { type: 'child', lane: flow.lane };
      const children = Array.from({ length: 20 }, () => ({ execution }));
      const { childExecutionIds } = await hand.waitForChildren(await flow.claim('parent', long), children);
      await claimAll(flow, 10, ['child']).catch(() => undefined);
      return {
        flow,
        act: async (caller) => await caller.cancel(flow.of('parent'), { policy: now }),
        decided: ended('parent'),
        finished: async (there) => {
          for (const id of childExecutionIds) expect((await there.hand.end(id)).outcome?.state).toBe(9);
          expect((await there.ended()).state).toBe(FlowState.FAILED);
        },
      };
    },
  },
  'proof 4: a join whose time is up, and that passes': {
    points: [1, 2],
    prepare: async (hand) => await expiring(hand, OnJoinTimeout.RELEASE_PARTIAL),
  },
  'proof 4: a join whose time is up, and that fails': {
    points: [1, 2],
    prepare: async (hand) => await expiring(hand, OnJoinTimeout.FAIL),
  },
};

/** One has ended, one is dead. The act is the end of the first; time does the rest. */
async function expiring(hand: FlowsByHand, onTimeout: OnJoinTimeout): Promise<Prepared> {
  const flow = await hand.flow({
    members: { quick: {}, dead: { optionalInFlow: true }, last: {} },
    links: [
      ['quick', 'last'],
      ['dead', 'last'],
    ],
    joins: { last: { timeout: seconds(6), onTimeout } },
  });
  const held = await flow.claim('dead', long);
  return {
    flow,
    act: completeAll([await flow.claim('quick', long)]),
    decided: ended('quick'),
    finished: async (there) => {
      if (onTimeout === OnJoinTimeout.FAIL) await expectEnds(there, 'FAILED', ['last']);
      else await there.hand.complete(await there.claim('last', { wait: seconds(20) }));
      await there.hand.complete(held);
      await there.ended();
      expect(await there.join('last')).toMatchObject({ okCount: 2, lateCount: 1 });
    },
  };
}

describe.concurrent.each(Object.entries(OPERATIONS))('%s', (_, { points, prepare }) => {
  test.each(points)('is finished by another server when one dies after statement %i', async (point) => {
    const database = await freshDatabase();
    const { proxy, url } = await CrashProxy.before(database.url);
    const doomed = await ServerProcess.start({ ...database, url });
    const { flow, act, decided, finished } = await prepare(new FlowsByHand(clientsOf(doomed.url)));
    let left = point;
    proxy.crashAfter(
      (statement) => !ASIDE.test(statement) && --left === 0,
      () => doomed.strike(),
    );
    // Nobody is told, or too early to matter: what the database has is what counts.
    await act(flow.hand).catch(() => undefined);
    await eventually(() => proxy.crashed, 60_000);
    await doomed.kill();
    await proxy.close();

    const survivor = await startTailrace({ database });
    const there = new MadeFlow(new FlowsByHand(survivor), flow.id, flow.lane, flow.ids);
    if (!(await decided(there))) await act(there.hand);
    await finished(there);
    const rules = await verify(survivor.running.engine.database);
    expect(rules.filter(({ violations }) => violations.length > 0)).toEqual([]);
    await survivor.stop();
    await database.drop();
  });
});
