/** The tree of a flow whose roots lie far apart: what a page looks at is bounded, and nothing is lost in between. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readTree, type TreeNode, type TreePlace } from '../../../src/repository/flows/index.js';
import { leaseOf, ok, only, seconds } from '../../support/by-hand.js';
import { type Desk, startDesk } from '../../support/desk.js';

let desk: Desk;
beforeAll(async () => {
  desk = await startDesk();
});
afterAll(() => desk.stop());

const EMITTED = 45;

test('a page that runs out of rows to look at goes on where it was', async () => {
  const { admin, engine, hand } = desk;
  await admin.putSubscription({ subscription: { name: 'many', filter: { eventTypes: ['begun'] }, type: 'many' } });
  const { results } = await engine.publishEvents({ events: [{ type: 'begun' }] });
  const { flowId } = ok(only(results));
  const events = Array.from({ length: EMITTED }, () => ({ type: 'emitted' }));
  const completions = [{ lease: leaseOf(await hand.claimOne({ leaseDuration: seconds(600) })), events }];
  ok(only((await engine.completeExecutions({ completions })).results));
  ok(only((await engine.publishEvents({ events: [{ type: 'apart', flowId }] })).results));
  await hand.createOne({ type: 'member', flowId });

  const namespace = await desk.core.registry.namespaceFor('default');
  const page = async (after: TreePlace | undefined, size: number, budget: number) => {
    const asked = { namespace, flow: flowId, root: null, depth: null, after, size, budget };
    const found = await readTree(desk.core.database, asked);
    if (typeof found === 'string') throw new Error(found);
    return found;
  };
  const typeOf = ({ what }: TreeNode) => ('event' in what ? what.event.type : what.execution.type);
  const whole = await page(undefined, 100, 10_000);
  expect(whole.next).toBeUndefined();
  expect(whole.nodes.map(({ depth }) => depth)).toEqual([0, 1, ...events.map(() => 2), 0, 0]);
  expect(whole.nodes.map(typeOf)).toEqual(['begun', 'many', ...events.map(({ type }) => type), 'apart', 'member']);
  for (const size of [1, 7, 100]) {
    const nodes: TreeNode[] = [];
    const scans = new Set<string>();
    let after: TreePlace | undefined;
    do {
      const part = await page(after, size, 20);
      nodes.push(...part.nodes);
      after = part.next;
      if (after) scans.add(after.scan);
    } while (after !== undefined);
    expect(nodes.map(({ id, above }) => [id, above])).toEqual(whole.nodes.map(({ id, above }) => [id, above]));
    expect(scans).toContain('events');
  }
});
