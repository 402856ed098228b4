/** CompleteExecutions: successful ends, and what the worker takes next. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type CompletedExecution,
  type CompleteExecutionsRequest,
  type CompleteExecutionsResponse,
  CompleteExecutionsResponseSchema,
  type Completion,
} from '../../../gen/tailrace/v1/engine_service_pb.js';
import type { AfterCommit } from '../../dispatch/after-commit.js';
import type { EngineError } from '../../domain/errors.js';
import type { NewExecution } from '../../repository/executions/index.js';
import { areRefusedChildren, completeWithChildren } from '../../repository/flows/index.js';
import { areRefusedFrames, type NewFrame } from '../../repository/frames/index.js';
import { type Ending, isRefused, isRefusedEmission, type Taker } from '../../repository/leases/index.js';
import type { TraceHeaders } from '../../runtime/traceparent.js';
import { traceOf } from '../call-trace.js';
import type { Content } from '../conversion/payload.js';
import { toTimestamp } from '../conversion/times.js';
import { sized } from '../payload-limits.js';
import { list, namespace, payload, type Shape, validate } from '../validation.js';
import { giveBack } from './claim.js';
import { claimNext, takeNext, takerOf } from './claim-next.js';
import { contentHash, EMPTY_HASH } from './content-hash.js';
import type { EngineServiceDeps } from './deps.js';
import { type Emitted, emittedEvent, emittedHash, MAX_EMITTED, toEmissions } from './events/emitted-event.js';
import { streamVersionConflict } from './events/refusals.js';
import { childrenOf, MAX_CHILDREN } from './flows/children.js';
import { tellMade } from './flows/follow-up.js';
import { childRefusal } from './flows/refusals.js';
import { frameSpec, MAX_FRAMES } from './frames/frame-spec.js';
import { framesRefusal } from './frames/refusals.js';
import { answerEach, checkItems, refuseRepeats } from './items.js';
import { leaseRef, NOWHERE } from './lease-ref.js';
import { refusalOf } from './refusals.js';
import { required } from './required.js';
import { executionSpec, type Spec, specHash } from './spec.js';

const MAX_ITEMS = 500;

const request = z.object({
  namespace,
  completions: list(z.custom<Completion>(), MAX_ITEMS, 1),
  claimNext: claimNext.optional(),
} satisfies Shape<CompleteExecutionsRequest>);

export function completeExecutionsCall(deps: EngineServiceDeps) {
  const completionFor = sized(deps, (mostBytes) => completionSpec(mostBytes, deps.frameLimits.frameBytes));
  return async (message: CompleteExecutionsRequest, context: HandlerContext): Promise<CompleteExecutionsResponse> => {
    const asked = validate(request, message);
    const namespaceId = await deps.registry.namespace(asked.namespace);
    const checked = refuseRepeats(
      checkItems(await completionFor(asked.namespace), asked.completions, 'completions'),
      (item) => item.lease.executionId,
      (i) => `completions[${i}].lease.execution_id`,
    );
    const taker = namespaceId === undefined ? null : takerOf(deps, asked.claimNext, namespaceId);
    const answers = answerEach(
      checked,
      (items) => endEach(deps, namespaceId, items, taker, traceOf(context)),
      (answer, item) => toCompleted(deps, answer, item.lease.executionId),
    );
    const results = await answers.catch(async (error: unknown) => {
      // Some may be recorded, and have handed over what this call can no longer answer.
      await giveBack(deps.writers, namespaceId ?? 0, deps.writers.handedTo(taker));
      throw error;
    });
    const handed = deps.writers.handedTo(taker);
    const next = asked.claimNext && (await takeNext(deps, asked.claimNext, asked.namespace, handed, context.signal));
    return create(CompleteExecutionsResponseSchema, { results, ...next });
  };
}

function completionSpec(mostBytes: number, mostFrameBytes: number) {
  return z.object({
    lease: required(leaseRef),
    result: payload(mostBytes),
    events: list(emittedEvent(mostBytes), MAX_EMITTED),
    children: list(executionSpec(mostBytes, 'child'), MAX_CHILDREN),
    frames: list(frameSpec(mostFrameBytes), MAX_FRAMES),
  } satisfies Shape<Completion>);
}

interface Item {
  readonly lease: z.output<typeof leaseRef>;
  readonly result: Content | null;
  readonly events: readonly Emitted[];
  readonly children: readonly Spec[];
  readonly frames: readonly NewFrame[];
}

type Answer = Awaited<ReturnType<typeof completeWithChildren>>;

/**
 * Those with children are transactions of their own, one by one; the others share theirs with whoever completes now. Only
 * what the others release is handed over with their commit. Frames that are refused after a place in a stream was given to
 * the same completion would take it from those behind it: they come alone, too.
 */
async function endEach(
  deps: EngineServiceDeps,
  namespace: number | undefined,
  items: readonly Item[],
  taker: Taker | null,
  trace: TraceHeaders | undefined,
): Promise<Answer[]> {
  const plain = items.filter((item) => !isAlone(item)).map((item) => endingOf(item, namespace));
  const ending = plain.length > 0 ? deps.writers.complete(plain, taker) : Promise.resolve([]);
  const spawning = endSpawning(deps, namespace, items.filter(isAlone), trace);
  // Both come to their end before the caller hears of either.
  await Promise.allSettled([ending, spawning]);
  const [ended, spawned] = [await ending, await spawning];
  const [nextEnded, nextSpawned] = [ended.values(), spawned.values()];
  return items.flatMap((item) => (isAlone(item) ? nextSpawned : nextEnded).next().value ?? []);
}

function isAlone({ children, frames, events }: Item): boolean {
  return children.length > 0 || (frames.length > 0 && events.some(({ stream }) => stream !== null));
}

async function endSpawning(
  { database, registry, lines, after, flowLimits, frameLimits }: EngineServiceDeps,
  namespace: number | undefined,
  items: readonly Item[],
  trace: TraceHeaders | undefined,
): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (const item of items) {
    const parent = item.lease.executionId;
    const children = namespace === undefined ? [] : await childrenOf(registry, namespace, parent, item.children, trace);
    const limits = { members: flowLimits.members, frames: frameLimits };
    const answer = await completeWithChildren(database, endingOf(item, namespace), children, limits);
    if (answer.verdict === 'done') {
      tellSpawned(after, answer, children);
      lines.attempts.ended(item.lease.leaseId, answer);
    }
    if (item.events.length > 0) after.due('routes', 0);
    answers.push(answer);
  }
  return answers;
}

function tellSpawned(
  after: AfterCommit,
  { made, woken, follows }: Extract<Answer, { verdict: 'done' | 'duplicate' }>,
  children: readonly NewExecution[],
): void {
  tellMade(after, { woken: [...(made ?? []), ...(woken ?? [])], follows: follows ?? false }, children);
}

function endingOf(item: Item, namespace: number | undefined): Ending {
  const { lease, result, frames, events } = item;
  // Named one by one, as everything here that is made for each execution: spreading them costs ten times as much.
  return {
    namespace: namespace ?? NOWHERE,
    execution: lease.executionId,
    lease: lease.leaseId,
    token: lease.fencingToken,
    hash: hashOf(item),
    failure: null,
    message: null,
    runAt: null,
    delayMs: null,
    content: result,
    frames,
    events: toEmissions(events),
  };
}

/** Of what was asked for; each part counts where it is there, so that what is stored of former calls is met again. */
function hashOf({ result, children, frames, events }: Item): Buffer {
  if (children.length > 0 || frames.length > 0 || events.length > 0) {
    const made = children.map((child) => specHash(child).toString('base64'));
    const said = frames.map(({ mode, type, payload }) => contentHash([mode, type], payload).toString('base64'));
    if (events.length > 0) return contentHash([made, said, events.map(emittedHash)], result);
    return contentHash(said.length > 0 ? [made, said] : made, result);
  }
  return result === null ? EMPTY_HASH : contentHash([], result);
}

function toCompleted(
  { flowLimits, frameLimits }: EngineServiceDeps,
  answer: Answer,
  execution: string,
): CompletedExecution | EngineError {
  if (isRefused(answer)) return refusalOf(answer, execution);
  if (areRefusedFrames(answer)) return framesRefusal(answer, execution, frameLimits);
  if (isRefusedEmission(answer)) return streamVersionConflict(answer.stream, answer.version);
  if (areRefusedChildren(answer)) {
    return childRefusal(answer, execution, flowLimits.members);
  }
  return {
    $typeName: 'tailrace.v1.CompletedExecution',
    duplicate: answer.verdict === 'duplicate',
    endTime: toTimestamp(answer.ended_at),
    childExecutionIds: [...(answer.children ?? [])],
    eventIds: [...(answer.events ?? [])],
  };
}
