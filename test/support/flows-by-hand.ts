/**
 * Flows, one step at a time. A member's type is its local name and a flow has a lane of its own, so that a test claims
 * the member it means; a claim waits, because a member may become claimable right after the call that released it.
 */

import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { type AwaitedExecution, FlowMilestone } from '../../gen/tailrace/v1/completion_service_pb.js';
import type {
  CancelFlowRequest,
  CancelFlowResponse,
  ChildSpec,
  ClaimExecutionsRequest,
  ExtendFlowRequest,
  WaitForChildrenResponse,
} from '../../gen/tailrace/v1/engine_service_pb.js';
import type { ExecutionSpec } from '../../gen/tailrace/v1/execution_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import type { EdgeSpec, Flow, FlowSpec, JoinSpec } from '../../gen/tailrace/v1/flow_pb.js';
import type { Join, JoinPolicy } from '../../gen/tailrace/v1/join_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { ByHand, type Init, leaseOf, seconds } from './by-hand.js';
import type { Clients } from './tailrace.js';

/** From whom, to whom, and what else is said of the edge. */
export type Link = readonly [upstream: string, downstream: string, more?: Pick<Init<EdgeSpec>, EdgeDetail>];
type EdgeDetail = 'name' | 'optional' | 'source';

export interface Graph {
  readonly members?: Readonly<Record<string, Init<ExecutionSpec>>>;
  readonly links?: readonly Link[];
  /** Policies by the name of the member that waits. */
  readonly joins?: Readonly<Record<string, Init<JoinPolicy> & Pick<Init<JoinSpec>, 'open'>>>;
}

let made = 0;

export class FlowsByHand extends ByHand {
  readonly clients: Clients;

  constructor(clients: Clients, name?: string, instanceId?: string) {
    super(clients, name, instanceId);
    this.clients = clients;
  }

  /** Sealed unless it is asked to be open. In a lane of its own unless it is told one. */
  async flow(graph: Graph, spec: Init<FlowSpec> = {}, lane = `flow ${++made}`): Promise<MadeFlow> {
    const answer = await this.clients.engine.createFlow({ flow: spec, ...graphOf(graph, lane, new Map()) });
    return new MadeFlow(this, answer.flowId, lane, Object.entries(answer.executionIds));
  }

  /** Parks the holder. */
  async waitForChildren(
    claim: Claim,
    children: readonly Init<ChildSpec>[],
    policy: Init<JoinPolicy> = {},
  ): Promise<WaitForChildrenResponse> {
    const asked = { lease: leaseOf(claim), children: [...children], policy };
    return await this.clients.engine.waitForChildren(asked);
  }

  /** What was due within so many seconds has been dealt with: a flow that began afterwards has settled. */
  async sweptAfter(delaySeconds: number): Promise<void> {
    const flow = await this.flow({ members: { last: { delay: seconds(delaySeconds) } } });
    await flow.complete('last');
    await flow.ended();
  }

  /** The one join that this execution waits, or waited, for last. */
  async joinOf(executionId: string): Promise<Join> {
    const { joins } = await this.clients.admin.listJoins({ executionId });
    const [join] = joins;
    if (join === undefined) throw new Error(`${executionId} has no join`);
    return join;
  }
}

export class MadeFlow {
  readonly ids: Map<string, string>;

  constructor(
    readonly hand: FlowsByHand,
    readonly id: string,
    readonly lane: string,
    ids: Iterable<readonly [string, string]>,
  ) {
    this.ids = new Map(ids);
  }

  of(name: string): string {
    const id = this.ids.get(name);
    if (id === undefined) throw new Error(`no member ${name}`);
    return id;
  }

  async claim(name: string, ask: Init<ClaimExecutionsRequest> = {}): Promise<Claim> {
    return await this.hand.claimOne({ lanes: [{ lane: this.lane }], types: [name], ...ask });
  }

  async complete(name: string, result = `result of ${name}`): Promise<Claim> {
    const claim = await this.claim(name);
    await this.hand.complete(claim, result);
    return claim;
  }

  async fail(name: string): Promise<Claim> {
    const claim = await this.claim(name);
    await this.hand.fail(claim, FailureClass.PERMANENT);
    return claim;
  }

  async look(name: string): Promise<AwaitedExecution> {
    return await this.hand.look(this.of(name));
  }

  /** How a member ended, once it has. */
  async end(name: string): Promise<{ state: string; reason: number }> {
    const { outcome } = await this.hand.end(this.of(name));
    return { state: ExecutionState[outcome?.state ?? 0] ?? '', reason: outcome?.reason ?? 0 };
  }

  /** Names of the present states, of all or of some. */
  async states(...names: string[]): Promise<Record<string, string>> {
    const asked = names.length > 0 ? names : [...this.ids.keys()];
    const executionIds = asked.map((name) => this.of(name));
    const { executions } = await this.hand.clients.completion.awaitExecutions({ executionIds });
    return Object.fromEntries(executions.map(({ state }, i) => [asked[i] ?? '', ExecutionState[state] ?? '']));
  }

  async join(name: string): Promise<Join> {
    return await this.hand.joinOf(this.of(name));
  }

  async extend(graph: Graph, more: Omit<Init<ExtendFlowRequest>, 'members' | 'edges' | 'joins'> = {}): Promise<bigint> {
    const asked = { flowId: this.id, ...graphOf(graph, this.lane, this.ids), ...more };
    const { executionIds, revision } = await this.hand.clients.engine.extendFlow(asked);
    for (const [name, id] of Object.entries(executionIds)) this.ids.set(name, id);
    return revision;
  }

  async seal(): Promise<void> {
    await this.hand.clients.engine.sealFlow({ flowId: this.id });
  }

  async cancel(more: Init<CancelFlowRequest> = {}): Promise<CancelFlowResponse> {
    return await this.hand.clients.engine.cancelFlow({ flowId: this.id, ...more });
  }

  async get(): Promise<Flow> {
    const { flow } = await this.hand.clients.admin.getFlow({ flowId: this.id });
    if (flow === undefined) throw new Error(`no flow ${this.id}`);
    return flow;
  }

  async settled(): Promise<Flow> {
    return await this.#until(FlowMilestone.SETTLED);
  }

  async ended(): Promise<Flow> {
    return await this.#until(FlowMilestone.ENDED);
  }

  async #until(until: FlowMilestone): Promise<Flow> {
    const asked = { flowId: this.id, until, timeout: seconds(20) };
    const { done, flow } = await this.hand.clients.completion.awaitFlow(asked);
    if (!done || flow === undefined) throw new Error(`flow ${this.id} did not reach ${FlowMilestone[until]} in time`);
    return flow;
  }
}

/** Members that the call makes by their local names, others by their ids. */
function graphOf({ members = {}, links = [], joins = {} }: Graph, lane: string, known: ReadonlyMap<string, string>) {
  const ref = (name: string) => {
    const executionId = name in members ? undefined : known.get(name);
    return executionId === undefined
      ? { member: { case: 'localName' as const, value: name } }
      : { member: { case: 'executionId' as const, value: executionId } };
  };
  return {
    members: Object.entries(members).map(([localName, spec]) => ({
      localName,
      execution: { type: localName, lane, ...spec },
    })),
    edges: links.map(([upstream, downstream, more]) => ({
      upstream: ref(upstream),
      downstream: ref(downstream),
      ...more,
    })),
    joins: Object.entries(joins).map(([name, { open, ...policy }]) => ({
      downstream: ref(name),
      policy,
      ...(open && { open }),
    })),
  };
}
