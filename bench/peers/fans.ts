/** Flows of one step that releases many, of which one more step waits. */

import type { MessageInitShape } from '@bufbuild/protobuf';
import { CancelMode } from '../../gen/tailrace/v1/cancel_pb.js';
import type { EdgeSpecSchema, FlowMemberSpecSchema, JoinSpecSchema } from '../../gen/tailrace/v1/flow_pb.js';
import { JoinMode, OnSatisfied } from '../../gen/tailrace/v1/join_pb.js';
import type { FlowClients, FlowRequest } from './tailrace-flows.js';

type Member = MessageInitShape<typeof FlowMemberSpecSchema>;
type Edge = MessageInitShape<typeof EdgeSpecSchema>;
type Join = MessageInitShape<typeof JoinSpecSchema>;

const ROOT = 'root';
const SINK = 'sink';

export interface FanTypes {
  /** Ahead of the members; without it they are claimable at once. */
  readonly root?: string;
  readonly member: string;
  /** Behind them; without it nothing waits. */
  readonly sink?: string;
}

/** One success among the members is enough, and the others are canceled. */
export interface FanOptions {
  readonly flowId: string;
  readonly size: number;
  readonly types: FanTypes;
  readonly oneIsEnough?: boolean;
}

/** What one call of CreateFlow may make. */
const MOST_MEMBERS = 10_000;

/** In one call, or the sink in a second one where the members fill the first. */
export async function makeFan(clients: FlowClients, options: FanOptions): Promise<void> {
  const { flowId, size, types } = options;
  if (size < MOST_MEMBERS || types.sink === undefined) return void (await clients.create(fanOf(options)));
  const { flow, members } = fanOf({ flowId, size, types: { member: types.member } });
  const ids = await clients.create({ flow: { ...flow, open: true }, members: members ?? [] });
  const downstream = { member: { case: 'localName' as const, value: SINK } };
  await clients.extend({
    flowId,
    members: [memberOf(SINK, types.sink)],
    edges: Object.values(ids).map(
      (id): Edge => ({ upstream: { member: { case: 'executionId', value: id } }, downstream }),
    ),
    seal: true,
  });
}

function fanOf({ flowId, size, types: { root, member, sink }, oneIsEnough = false }: FanOptions): FlowRequest {
  const names = Array.from({ length: size }, (_, i) => `${i}`);
  const members: Member[] = [
    ...(root === undefined ? [] : [memberOf(ROOT, root)]),
    ...names.map((name) => memberOf(name, member)),
    ...(sink === undefined ? [] : [memberOf(SINK, sink)]),
  ];
  const edges: Edge[] = [
    ...(root === undefined ? [] : names.map((name) => edgeOf(ROOT, name))),
    ...(sink === undefined ? [] : names.map((name) => edgeOf(name, SINK))),
  ];
  const joins: Join[] = oneIsEnough ? [quorumOfOne()] : [];
  // Who holds one of them is not asked to stop, but told that it has lost it.
  return { flow: { flowId, cancelPolicy: { mode: CancelMode.NOW } }, members, edges, joins };
}

function memberOf(localName: string, type: string): Member {
  return { localName, execution: { type } };
}

function edgeOf(upstream: string, downstream: string): Edge {
  return {
    upstream: { member: { case: 'localName', value: upstream } },
    downstream: { member: { case: 'localName', value: downstream } },
  };
}

function quorumOfOne(): Join {
  return {
    downstream: { member: { case: 'localName', value: SINK } },
    policy: { mode: JoinMode.QUORUM, quorum: 1, onSatisfied: OnSatisfied.CANCEL_REST },
  };
}
