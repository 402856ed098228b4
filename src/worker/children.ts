/** What a handler asks for in its own name: executions made with its completion, or made now and waited for. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ChildSpecSchema, WaitForChildrenRequestSchema } from '../../gen/tailrace/v1/engine_service_pb.js';
import type { ExecutionSpecSchema } from '../../gen/tailrace/v1/execution_pb.js';
import { lengthOf } from '../client/content.js';
import { type ChildExecution, toMemberSpec } from '../client/execution-spec.js';
import { type JoinRules, toJoinPolicy } from '../client/join-rules.js';

/** A child to wait for. It joins the flow of its parent. */
export interface AwaitedChild extends ChildExecution {
  /** Name under which its result is handed on, up to 200 bytes. Default: its type. */
  readonly name?: string;
  /** Its failure does not fail the wait. Default false. */
  readonly optional?: boolean;
  /** For waits over distinct sources, up to 200 bytes. Default: its execution id. */
  readonly source?: string;
}

export type SpawnedChild = MessageInitShape<typeof ExecutionSpecSchema>;
export type WaitPolicy = NonNullable<MessageInitShape<typeof WaitForChildrenRequestSchema>['policy']>;

/** What `ctx.waitForChildren()` answers. Nothing has happened yet: the handler returns it. */
export class ChildrenWait {
  readonly children: readonly MessageInitShape<typeof ChildSpecSchema>[];
  readonly policy: WaitPolicy;
  /** Length of the inputs. */
  readonly bytes: number;

  constructor(children: readonly AwaitedChild[], rules: JoinRules) {
    if (children.length === 0) throw new RangeError('a handler waits for one child at least');
    const specs = children.map((child) => ({ child, execution: toMemberSpec(child) }));
    this.children = specs.map(({ child: { name = '', optional = false, source = '' }, execution }) => {
      return { name, execution, optional, source };
    });
    this.policy = toJoinPolicy(rules);
    this.bytes = specs.reduce((sum, { execution }) => sum + lengthOf(execution.input), 0);
  }
}

/** The children of one run of a handler: those of its completion, or those it waits for; never both. */
export class Children {
  readonly #spawned: SpawnedChild[] = [];
  #wait: ChildrenWait | undefined;

  get spawned(): readonly SpawnedChild[] {
    return this.#spawned;
  }

  get wait(): ChildrenWait | undefined {
    return this.#wait;
  }

  spawn(child: ChildExecution): void {
    if (this.#wait) throw new Error('a handler that waits spawns nothing: it does not complete');
    this.#spawned.push(toMemberSpec(child));
  }

  waitFor(children: readonly AwaitedChild[], rules: JoinRules): ChildrenWait {
    if (this.#spawned.length > 0) throw new Error('a handler that has spawned does not wait: spawn after the wait');
    this.#wait = new ChildrenWait(children, rules);
    return this.#wait;
  }
}
