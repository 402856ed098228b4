/** Reactions that cause themselves come to an end by the limit of hops, and the tree shows how they went on. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DeadLetterReason } from '../../../gen/tailrace/v1/dead_letter_reason_pb.js';
import type { FlowTreeNode } from '../../../gen/tailrace/v1/flow_pb.js';
import { only } from '../../support/by-hand.js';
import { EventsByHand } from '../../support/events-by-hand.js';
import { Recorded } from '../../support/history/recorded.js';

const MOST_HOPS = 64;
/** So many it has behind it when the cycle begins, which saves some turns. */
const BEFORE = 56;

let recorded: Recorded;
beforeAll(async () => {
  recorded = await Recorded.start();
});
afterAll(() => recorded.stop());

test('7: a subscription that wants what it causes is stopped, and can be seen', async () => {
  const hand = new EventsByHand(recorded.clients);
  await hand.subscribe('echo', { filter: { eventTypes: ['call'] } });
  const chain = Array.from({ length: BEFORE }, (_, i) => ({
    ...{ type: 'step', eventId: `step ${i}` },
    ...(i > 0 && { causeEventId: `step ${i - 1}` }),
  }));
  await hand.publish(...chain);
  const { flowId } = await hand.publishOne({ type: 'call', causeEventId: `step ${BEFORE - 1}` });
  for (let hops = BEFORE; hops <= MOST_HOPS; hops++) {
    const claim = await hand.claimOne({ lanes: [{ lane: 'echo' }] });
    expect(claim.hops).toBe(hops);
    await hand.completeWith(claim, { type: 'call' });
  }
  // The last one started nothing.
  expect(await hand.reactionsOf('echo')).toHaveLength(MOST_HOPS + 1 - BEFORE);
  const { deadLetters } = await recorded.clients.deadLetters.listDeadLetters({ filter: { flowId } });
  expect(only(deadLetters)).toMatchObject({ reason: DeadLetterReason.HOP_LIMIT, eventType: 'call' });

  const nodes: FlowTreeNode[] = [];
  let pageToken = '';
  do {
    const page = await recorded.clients.admin.getFlowTree({ flowId, pageSize: 50, pageToken });
    nodes.push(...page.nodes);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  // An event, what it started, the next event, and so on.
  expect(nodes).toHaveLength(BEFORE + 2 * (MOST_HOPS + 1 - BEFORE) + 1);
  expect(nodes[0]?.nodeId).toBe('step 0');
  nodes.forEach(({ parentNodeId }, i) => {
    expect(parentNodeId).toBe(nodes[i - 1]?.nodeId ?? '');
  });
  expect(nodes.at(-1)?.nodeId).toBe(deadLetters[0]?.eventId);
});
