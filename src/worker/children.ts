/** What a handler asks for in its own name: executions made with its completion, or made now and waited for. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ChildSpecSchema, WaitForChildrenRequestSchema } from '../../gen/tailrace/v1/engine_service_pb.js';
import type { ExecutionSpecSchema } from '../../gen/tailrace/v1/execution_pb.js';
import { lengthOf } from '../client/content.js';
import type { AnyEvents, EventSchemas } from '../client/event-schemas.js';
import { type ChildExecution, toMemberSpec } from '../client/execution-spec.js';
import { type JoinRules, toJoinPolicy } from '../client/join-rules.js';
import type { TraceHeaders } from '../runtime/traceparent.js';

/** A child to wait for. It joins the flow of its parent. */
export interface AwaitedChild<E extends EventSchemas = AnyEvents> extends ChildExecution<E> {
  /** Name under which its result is handed on, up to 200 bytes. Default: its type. */
  readonly name?: string;
  /** Its failure does not fail the wait. Default false. */
  readonly optional?: boolean;
  /** For waits over distinct sources, up to 200 bytes. Default: its execution id. */
  readonly source?: string;
}

export type SpawnedChild = MessageInitShape<typeof ExecutionSpecSchema>;
type AwaitedSpec = MessageInitShape<typeof ChildSpecSchema> & { readonly execution: ReturnType<typeof toMemberSpec> };
export type WaitPolicy = NonNullable<MessageInitShape<typeof WaitForChildrenRequestSchema>['policy']>;

/** What `ctx.waitForChildren()` answers. Nothing has happened yet: the handler returns it. */
export class ChildrenWait {
  readonly children: readonly AwaitedSpec[];
  readonly policy: WaitPolicy;
  /** Length of the inputs. */
  readonly bytes: number;

  constructor(children: readonly AwaitedSpec[], rules: JoinRules) {
    if (children.length === 0) throw new RangeError('a handler waits for one child at least');
    this.children = children;
    this.policy = toJoinPolicy(rules);
    this.bytes = children.reduce((sum, { execution }) => sum + lengthOf(execution.input), 0);
  }
}

/** The children of one run of a handler: those of its completion, or those it waits for; never both. */
export class Children {
  readonly #schemas: EventSchemas | undefined;
  readonly #trace: () => TraceHeaders | undefined;
  readonly #spawned: SpawnedChild[] = [];
  #wait: ChildrenWait | undefined;

  /** `trace`: what they belong to, at the moment they are asked for. */
  constructor(schemas?: EventSchemas, trace: () => TraceHeaders | undefined = () => undefined) {
    this.#schemas = schemas;
    this.#trace = trace;
  }

  get spawned(): readonly SpawnedChild[] {
    return this.#spawned;
  }

  get wait(): ChildrenWait | undefined {
    return this.#wait;
  }

  spawn<E extends EventSchemas>(child: ChildExecution<E>): void {
    if (this.#wait) throw new Error('a handler that waits spawns nothing: it does not complete');
    this.#spawned.push(this.#traced(toMemberSpec(child, this.#schemas)));
  }

  waitFor<E extends EventSchemas>(children: readonly AwaitedChild<E>[], rules: JoinRules): ChildrenWait {
    if (this.#spawned.length > 0) throw new Error('a handler that has spawned does not wait: spawn after the wait');
    const specs = children.map((child) => {
      const { name = '', optional = false, source = '' } = child;
      return { name, execution: this.#traced(toMemberSpec(child, this.#schemas)), optional, source };
    });
    this.#wait = new ChildrenWait(specs, rules);
    return this.#wait;
  }

  #traced(spec: ReturnType<typeof toMemberSpec>) {
    const traceContext = this.#trace();
    return traceContext ? { ...spec, traceContext } : spec;
  }
}
