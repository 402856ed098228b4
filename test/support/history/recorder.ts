/**
 * Records what Connect clients ask and what they are answered, as events of a history.
 *
 * It sits in the transport, so that tests call the engine as anybody would and nothing can be forgotten. Watches are not
 * recorded here but by RecordedReader, which knows where one goes on that was cut.
 */
import { isMessage, type Message } from '@bufbuild/protobuf';
import { Code, ConnectError, type Interceptor } from '@connectrpc/connect';
import { CancelEffect } from '../../../gen/tailrace/v1/cancel_pb.js';
import { RedriveDeadLetterResponseSchema } from '../../../gen/tailrace/v1/dead_letter_service_pb.js';
import {
  AppendFramesRequestSchema,
  AppendFramesResponseSchema,
  CancelExecutionRequestSchema,
  CancelExecutionResponseSchema,
  ClaimExecutionResponseSchema,
  ClaimExecutionsResponseSchema,
  CompleteExecutionsRequestSchema,
  CompleteExecutionsResponseSchema,
  CreateExecutionsResponseSchema,
  CreateFlowResponseSchema,
  CreateWaitpointRequestSchema,
  CreateWaitpointResponseSchema,
  DelayExecutionRequestSchema,
  DelayExecutionResponseSchema,
  ExtendFlowResponseSchema,
  FailExecutionsRequestSchema,
  FailExecutionsResponseSchema,
  ReleaseLeasesRequestSchema,
  ReleaseLeasesResponseSchema,
  ReleaseUsageRequestSchema,
  ReleaseUsageResponseSchema,
  RenewLeasesRequestSchema,
  RenewLeasesResponseSchema,
  ReportProgressRequestSchema,
  ReportUsageRequestSchema,
  ReportUsageResponseSchema,
  SuspendExecutionRequestSchema,
  SuspendExecutionResponseSchema,
  WaitForChildrenRequestSchema,
  WaitForChildrenResponseSchema,
} from '../../../gen/tailrace/v1/engine_service_pb.js';
import { ErrorDetailSchema } from '../../../gen/tailrace/v1/error_pb.js';
import type { Claim, LeaseRef } from '../../../gen/tailrace/v1/lease_pb.js';
import { consumerEvents, unansweredConsumer } from './consumer-events.js';
import { eventEvents, refusedEvents } from './event-events.js';
import type { Claimed, Created, Held, HistoryEvent, HolderCall, Timed } from './history.js';
import { limitEvents, refusedUse, unansweredLimits } from './limit-events.js';
import { matchedIn, refusedOutput, type Standing, waitEvents } from './wait-events.js';

/** Refusals after which the call may have happened all the same. */
const UNCERTAIN: ReadonlySet<Code> = new Set([
  Code.Unavailable,
  Code.Canceled,
  Code.DeadlineExceeded,
  Code.Unknown,
  Code.Internal,
]);

export class Recorder {
  readonly events: HistoryEvent[] = [];
  /** By lease id. */
  readonly #standing = new Map<string, Standing>();
  readonly #standingOf = (lease: LeaseRef | undefined) => this.#standing.get(lease?.leaseId ?? '');
  #order = 0;

  /** To be given to the transport of every client whose calls belong to the history. */
  readonly interceptor: Interceptor = (next) => async (request) => {
    if (request.stream) return await next(request);
    const began = this.#order++;
    try {
      const response = await next(request);
      if (!response.stream) this.#answered(request.message, response.message, { began, answered: this.#order++ });
      return response;
    } catch (error) {
      this.#refused(request.method.name, request.message, error, { began, answered: this.#order++ });
      throw error;
    }
  };

  #answered(request: Message, response: Message, timed: Timed): void {
    if (isMessage(response, CreateExecutionsResponseSchema)) {
      for (const { result } of response.results) {
        if (result.case === 'ok') this.#created(result.value.executionId, result.value.duplicate, timed);
      }
    }
    // An entry of a consumer is delivered again, and nothing is made for it.
    if (isMessage(response, RedriveDeadLetterResponseSchema) && response.executionId !== '') {
      this.#created(response.executionId, response.duplicate, timed);
      for (const id of response.downstreamExecutionIds) this.#created(id, response.duplicate, timed);
    }
    if (isMessage(response, CreateFlowResponseSchema) || isMessage(response, ExtendFlowResponseSchema)) {
      for (const id of Object.values(response.executionIds)) this.#created(id, response.duplicate, timed);
    }
    if (isMessage(response, WaitForChildrenResponseSchema)) {
      for (const id of response.childExecutionIds) this.#created(id, response.duplicate, timed);
    }
    if (isMessage(response, CompleteExecutionsResponseSchema)) {
      for (const { result } of response.results) {
        if (result.case !== 'ok') continue;
        for (const id of result.value.childExecutionIds) this.#created(id, result.value.duplicate, timed);
      }
    }
    if (isMessage(response, ClaimExecutionsResponseSchema)) this.#claimed(response.claims, timed);
    if (isMessage(response, ClaimExecutionResponseSchema) && response.claim) this.#claimed([response.claim], timed);
    if (isMessage(response, CompleteExecutionsResponseSchema)) this.#claimed(response.claims, timed);
    for (const item of heldItems(request, response)) this.#held(item, timed);
    this.events.push(...limitEvents(request, response, timed));
    this.events.push(...eventEvents(request, response, timed));
    this.events.push(...consumerEvents(request, response, timed));
    this.events.push(...waitEvents(request, response, timed, this.#standingOf));
  }

  #refused(call: string, request: Message, error: unknown, timed: Timed): void {
    // What the engine says has a detail; without one a connection broke.
    const isTold = error instanceof ConnectError && error.findDetails(ErrorDetailSchema).length > 0;
    // The items of a batch are committed as they come: one that met others too often refuses those before it, too.
    const isPartial = isTold && error.code === Code.Aborted && leasesOf(request).length > 1;
    const unanswered = !isTold || UNCERTAIN.has(error.code) || isPartial;
    const verdict = unanswered ? 'unanswered' : 'refused';
    this.events.push(...refusedUse(request, verdict, timed));
    this.events.push(...refusedEvents(request, verdict, timed));
    this.events.push(...refusedOutput(request, verdict, timed, this.#standingOf));
    if (unanswered) {
      this.events.push(...unansweredConsumer(request, timed));
      this.events.push(...unansweredLimits(request, timed));
      this.events.push({ event: 'unanswered', call });
      return;
    }
    for (const [name, lease] of leasesOf(request)) this.#held({ call: name, lease, verdict: 'refused' }, timed);
  }

  #created(execution: string, duplicate: boolean, timed: Timed): void {
    this.events.push({ event: 'created', execution, duplicate, ...timed } satisfies Created);
  }

  #claimed(claims: readonly Claim[], timed: Timed): void {
    for (const claim of claims) {
      const { executionId: execution, lease, attemptNumber: attempt, resume } = claim;
      if (!lease) throw new Error(`the claim of ${execution} has no lease`);
      const { leaseId, fencingToken: token } = lease;
      const resumed = resume !== undefined;
      const event = 'claimed';
      this.events.push({ event, execution, lease: leaseId, token, attempt, resumed, ...timed } satisfies Claimed);
      this.events.push(...matchedIn(claim, timed));
      this.#standing.set(leaseId, { attempt, suspension: resume?.suspensionNumber ?? 0 });
    }
  }

  #held({ call, lease, verdict }: HeldItem, timed: Timed): void {
    const { executionId: execution, leaseId, fencingToken: token } = lease;
    this.events.push({ event: 'held', call, execution, lease: leaseId, token, verdict, ...timed } satisfies Held);
  }
}

interface HeldItem {
  readonly call: HolderCall;
  readonly lease: LeaseRef;
  readonly verdict: Held['verdict'];
}

interface ItemResult {
  readonly result: { readonly case: string | undefined; readonly value?: unknown };
}

/** What became of every lease a request named. */
function heldItems(request: Message, response: Message): HeldItem[] {
  const results = resultsOf(response);
  return leasesOf(request).map(([call, lease], i) => ({
    call,
    lease,
    verdict: results ? verdictOf(results[i]) : isDuplicate(response) ? 'duplicate' : 'accepted',
  }));
}

function leasesOf(request: Message): (readonly [HolderCall, LeaseRef])[] {
  const named = (call: HolderCall, leases: readonly (LeaseRef | undefined)[]) =>
    leases.flatMap((lease) => (lease ? [[call, lease] as const] : []));
  if (isMessage(request, RenewLeasesRequestSchema)) {
    return named(
      'renew',
      request.renewals.map(({ lease }) => lease),
    );
  }
  if (isMessage(request, CompleteExecutionsRequestSchema)) {
    return named(
      'complete',
      request.completions.map(({ lease }) => lease),
    );
  }
  if (isMessage(request, FailExecutionsRequestSchema)) {
    return named(
      'fail',
      request.reports.map(({ lease }) => lease),
    );
  }
  if (isMessage(request, ReleaseLeasesRequestSchema)) return named('release', request.leases);
  if (isMessage(request, DelayExecutionRequestSchema)) return named('delay', [request.lease]);
  if (isMessage(request, ReportProgressRequestSchema)) return named('progress', [request.lease]);
  if (isMessage(request, WaitForChildrenRequestSchema)) return named('wait', [request.lease]);
  if (isMessage(request, SuspendExecutionRequestSchema)) return named('suspend', [request.lease]);
  if (isMessage(request, CreateWaitpointRequestSchema)) return named('waitpoint', [request.lease]);
  if (isMessage(request, AppendFramesRequestSchema)) return named('frames', [request.lease]);
  if (isMessage(request, ReportUsageRequestSchema)) return named('usage', [request.lease]);
  if (isMessage(request, ReleaseUsageRequestSchema)) return named('usage', [request.lease]);
  if (isMessage(request, CancelExecutionRequestSchema)) return named('cancel', [request.lease]);
  return [];
}

function resultsOf(response: Message): readonly ItemResult[] | undefined {
  if (isMessage(response, RenewLeasesResponseSchema)) return response.results;
  if (isMessage(response, CompleteExecutionsResponseSchema)) return response.results;
  if (isMessage(response, FailExecutionsResponseSchema)) return response.results;
  if (isMessage(response, ReleaseLeasesResponseSchema)) return response.results;
  return undefined;
}

function verdictOf(item: ItemResult | undefined): Held['verdict'] {
  if (item?.result.case !== 'ok') return 'refused';
  return (item.result.value as { duplicate?: boolean }).duplicate ? 'duplicate' : 'accepted';
}

/** A cancel by the holder of what has ended already changes nothing. */
function isDuplicate(response: Message): boolean {
  if (isMessage(response, CancelExecutionResponseSchema)) return response.execution?.effect !== CancelEffect.ENDED;
  const repeatable = [
    ...[DelayExecutionResponseSchema, WaitForChildrenResponseSchema, SuspendExecutionResponseSchema],
    ...[CreateWaitpointResponseSchema, AppendFramesResponseSchema],
    ...[ReportUsageResponseSchema, ReleaseUsageResponseSchema],
  ];
  return repeatable.some((schema) => isMessage(response, schema) && response.duplicate);
}
