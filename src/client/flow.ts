/**
 * A flow as a caller writes it down: members under local names, what needs what, and when a member that waits goes on.
 *
 * The names are known to the compiler: an edge to a name that no member has does not compile, and what was made
 * answers an id for every member. Names made while the program runs are plain strings, which the server checks. So are
 * cycles, self edges and quorums above the number of edges: they are refused with typed errors, and nothing is made.
 */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type {
  EdgeSpecSchema,
  FlowMemberSpecSchema,
  JoinSpecSchema,
  MemberRefSchema,
} from '../../gen/tailrace/v1/flow_pb.js';
import type { CancelRules } from './cancel-policy.js';
import { type MemberExecution, toMemberSpec } from './execution-spec.js';
import { type JoinRules, toJoinPolicy } from './join-rules.js';

export interface FlowOptions {
  /** For people and filters, up to 200 bytes. */
  readonly name?: string;
  /** For people and filters: up to 32, keys up to 64 bytes, values up to 256. */
  readonly tags?: Readonly<Record<string, string>>;
  /** Whether members may be added until it is sealed. Default false: it is sealed by the call that makes it. */
  readonly open?: boolean;
  /** What a required member's failure does to those that do not depend on it. Default `continue`. */
  readonly failurePolicy?: 'continue' | 'cancel_rest';
  /** How its running members are canceled with it. Default `cooperative`, 30 s. */
  readonly cancelPolicy?: CancelRules;
  /** An open flow that has been settled for so long seals itself. Milliseconds, 1,000 to 30 days. Default never. */
  readonly sealAfterIdleMs?: number;
  /** Makes a repeat answer the first flow. 1 to 200 bytes. Default: a random one, for the client's own retries. */
  readonly requestId?: string;
  /** A UUIDv7 made by the caller. Default: the server makes one. */
  readonly flowId?: string;
}

export interface EdgeOptions {
  /** Name under which the result is handed on, up to 200 bytes. Default: the upstream's local name, else its type. */
  readonly name?: string;
  /** The upstream's failure neither fails nor starves the downstream. Default false. */
  readonly optional?: boolean;
  /** For joins over distinct sources, up to 200 bytes. Default: the upstream's execution id. */
  readonly source?: string;
}

export interface FlowJoinRules extends JoinRules {
  /** Later calls may add edges until the join or its flow is sealed; needs `timeoutMs`. Default false. */
  readonly open?: boolean;
}

type MemberInit = MessageInitShape<typeof FlowMemberSpecSchema>;
type EdgeInit = MessageInitShape<typeof EdgeSpecSchema>;
type JoinInit = MessageInitShape<typeof JoinSpecSchema>;
export type MemberRefInit = MessageInitShape<typeof MemberRefSchema>;

/** `Made` are the names of its members, `Existing` those of members of the flow that it extends. */
export class Flow<Made extends string, Existing extends string = never> {
  /** Only the compiler sees it. */
  declare protected readonly named: readonly [Made, Existing];
  readonly options: FlowOptions | undefined;
  /** What was said so far, as calls spell it. */
  readonly graph: { readonly members: MemberInit[]; readonly edges: EdgeInit[]; readonly joins: JoinInit[] } = {
    members: [],
    edges: [],
    joins: [],
  };
  readonly #existing = new Map<string, string>();

  constructor(options?: FlowOptions) {
    this.options = options;
  }

  /** Adds a member. Every method adds to this flow and answers it. */
  member<N extends string>(name: N, execution: MemberExecution): Flow<Made | N, Existing> {
    this.graph.members.push({ localName: name, execution: toMemberSpec(execution) });
    return this as unknown as Flow<Made | N, Existing>;
  }

  /** Any number of members at once. */
  members<N extends string>(members: Iterable<readonly [N, MemberExecution]>): Flow<Made | N, Existing> {
    for (const [name, execution] of members) this.member(name, execution);
    return this as unknown as Flow<Made | N, Existing>;
  }

  /** Names a member that the flow has already, for edges of an extension. */
  existing<N extends string>(name: N, executionId: string): Flow<Made, Existing | N> {
    this.#existing.set(name, executionId);
    return this as unknown as Flow<Made, Existing | N>;
  }

  /** `downstream` waits for `upstream` and is handed its result. */
  edge(upstream: Made | Existing, downstream: Made | Existing, options: EdgeOptions = {}): this {
    const { name = '', optional = false, source = '' } = options;
    this.graph.edges.push({ upstream: this.ref(upstream), downstream: this.ref(downstream), name, optional, source });
    return this;
  }

  /** Each waits for the one before it. */
  chain(...members: readonly (Made | Existing)[]): this {
    for (const [index, downstream] of members.entries()) {
      const upstream = members[index - 1];
      if (upstream !== undefined) this.edge(upstream, downstream);
    }
    return this;
  }

  /** `downstream` waits for each of these. */
  fanIn(
    upstreams: Iterable<Made | Existing>,
    downstream: Made | Existing,
    options: Omit<EdgeOptions, 'name'> = {},
  ): this {
    for (const upstream of upstreams) this.edge(upstream, downstream, options);
    return this;
  }

  /** When a member with edges goes on. Without it: when all it needs have succeeded. */
  join(downstream: Made | Existing, rules: FlowJoinRules): this {
    const { open = false, ...policy } = rules;
    this.graph.joins.push({ downstream: this.ref(downstream), policy: toJoinPolicy(policy), open });
    return this;
  }

  /** The member as calls name it. */
  ref(name: Made | Existing): MemberRefInit {
    const executionId = this.#existing.get(name);
    if (executionId !== undefined) return { member: { case: 'executionId', value: executionId } };
    return { member: { case: 'localName', value: name } };
  }
}

/** A flow to create. */
export function flow(options: FlowOptions = {}): Flow<never> {
  return new Flow(options);
}

/** What is to be added to a flow that is there. Members it has are named with `existing()`. */
export function extension(): Flow<never> {
  return new Flow();
}
