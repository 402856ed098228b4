/** What calls about signals and output add to a history. */
import { isMessage, type Message, toJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import {
  type AppendFramesRequest,
  AppendFramesRequestSchema,
  AppendFramesResponseSchema,
  CompleteExecutionsRequestSchema,
  CompleteExecutionsResponseSchema,
  type Completion,
  ListMatchedSignalsRequestSchema,
  ListMatchedSignalsResponseSchema,
  SignalExecutionResponseSchema,
  SuspendExecutionRequestSchema,
  SuspendExecutionResponseSchema,
} from '../../../gen/tailrace/v1/engine_service_pb.js';
import { type Frame, FrameMode, type FrameSpec } from '../../../gen/tailrace/v1/frame_pb.js';
import type { Claim, LeaseRef } from '../../../gen/tailrace/v1/lease_pb.js';
import type { Payload } from '../../../gen/tailrace/v1/payload_pb.js';
import type { Signal } from '../../../gen/tailrace/v1/signal_pb.js';
import type { Appended, HistoryEvent, Matched, TailedFrame, Timed } from './history.js';

/** Which attempt a lease is of, and how often it had been parked when the lease was granted. */
export interface Standing {
  readonly attempt: number;
  readonly suspension: number;
}

type StandingOf = (lease: LeaseRef | undefined) => Standing | undefined;

export function waitEvents(request: Message, response: Message, timed: Timed, of: StandingOf): HistoryEvent[] {
  if (isMessage(response, SignalExecutionResponseSchema)) {
    return [{ event: 'signaled', signal: response.signalId, effect: response.effect, ...timed }];
  }
  if (isMessage(request, SuspendExecutionRequestSchema) && isMessage(response, SuspendExecutionResponseSchema)) {
    if (response.suspended) return [];
    return matched(request.lease, of(request.lease)?.attempt, response.suspensionNumber, response.signals, timed);
  }
  if (isMessage(request, ListMatchedSignalsRequestSchema) && isMessage(response, ListMatchedSignalsResponseSchema)) {
    // A later page does not begin with the first signal; the last suspension may be one that held at once.
    if (request.pageToken !== '' || request.suspensionNumber === 0) return [];
    return matched(request.lease, of(request.lease)?.attempt, request.suspensionNumber, response.signals, timed);
  }
  if (isMessage(request, AppendFramesRequestSchema) && isMessage(response, AppendFramesResponseSchema)) {
    const { duplicate, count, summaryVersion } = response;
    const { expectedCount, frames } = request;
    const before = (total: bigint, mode: FrameMode) =>
      Number(total) - frames.filter((frame) => modeOf(frame) === mode).length;
    const places = duplicate
      ? { ...(expectedCount !== undefined && { durableBefore: Number(expectedCount) }) }
      : {
          ...{
            durableBefore: before(count, FrameMode.DURABLE),
            patchesBefore: before(summaryVersion, FrameMode.SUMMARY),
          },
          ...(mayGoOn(expectedCount, frames) && { mayGoOn: true }),
        };
    return appended(request, of(request.lease), duplicate ? 'duplicate' : 'accepted', timed, places);
  }
  if (isMessage(request, CompleteExecutionsRequestSchema) && isMessage(response, CompleteExecutionsResponseSchema)) {
    return request.completions.flatMap((completion, i) => {
      const { case: verdict, value } = response.results[i]?.result ?? { case: undefined };
      if (verdict !== 'ok') return lastFrames(completion, 'refused', timed, of);
      return lastFrames(completion, value.duplicate ? 'duplicate' : 'accepted', timed, of);
    });
  }
  return [];
}

/**
 * An append that finds its first durable frames there already goes on behind the last of those, and is not answered how many
 * they were: it leaves out the patches before that one, too.
 */
function mayGoOn(expectedCount: bigint | undefined, frames: readonly FrameSpec[]): boolean {
  const modes = frames.map(modeOf);
  const last = modes.lastIndexOf(FrameMode.DURABLE);
  const behind = modes.slice(0, Math.max(0, last)).lastIndexOf(FrameMode.DURABLE);
  return expectedCount !== undefined && modes.slice(0, Math.max(0, behind)).includes(FrameMode.SUMMARY);
}

/** A completion may bring the last frames of its attempt; it is not answered where they stand. */
function lastFrames(completion: Completion, verdict: Appended['verdict'], timed: Timed, of: StandingOf): Appended[] {
  return completion.frames.length === 0 ? [] : appended(completion, of(completion.lease), verdict, timed);
}

export function refusedOutput(
  request: Message,
  verdict: 'refused' | 'unanswered',
  timed: Timed,
  of: StandingOf,
): HistoryEvent[] {
  if (isMessage(request, CompleteExecutionsRequestSchema)) {
    return request.completions.flatMap((completion) => lastFrames(completion, verdict, timed, of));
  }
  return isMessage(request, AppendFramesRequestSchema) ? appended(request, of(request.lease), verdict, timed) : [];
}

/** A claim that goes on tells what satisfied the wait, if it was for signals. */
export function matchedIn({ executionId, attemptNumber, resume }: Claim, timed: Timed): HistoryEvent[] {
  if (resume === undefined || resume.signals.length === 0) return [];
  return matched({ executionId }, attemptNumber, resume.suspensionNumber, resume.signals, timed);
}

function matched(
  lease: Pick<LeaseRef, 'executionId'> | undefined,
  attempt: number | undefined,
  suspension: number,
  signals: readonly Signal[],
  timed: Timed,
): Matched[] {
  if (lease === undefined || attempt === undefined) return [];
  const ids = signals.map(({ signalId }) => signalId);
  return [{ event: 'matched', execution: lease.executionId, attempt, suspension, signals: ids, ...timed }];
}

function appended(
  { lease, frames }: Pick<AppendFramesRequest, 'lease' | 'frames'>,
  standing: Standing | undefined,
  verdict: Appended['verdict'],
  timed: Timed,
  places: Pick<Appended, 'durableBefore' | 'patchesBefore' | 'mayGoOn'> = {},
): Appended[] {
  if (lease === undefined || standing === undefined) return [];
  const written = frames.map((frame) => ({ mode: modeOf(frame), content: contentOf(frame) }));
  const { attempt } = standing;
  return [{ event: 'appended', execution: lease.executionId, attempt, frames: written, verdict, ...places, ...timed }];
}

export function tailed({ mode, number, summaryVersion, summaryWhole, ...frame }: Frame): TailedFrame {
  const places = { number: Number(number), version: Number(summaryVersion), whole: summaryWhole };
  return { mode, content: contentOf(frame), ...places };
}

const modeOf = ({ mode }: FrameSpec) => mode || FrameMode.DURABLE;

/** Text for text, whichever way it was sent. */
function contentOf({ type, payload }: { readonly type: string; readonly payload?: Payload | undefined }): string {
  return `${type}\n${bodyOf(payload)}`;
}

function bodyOf(payload: Payload | undefined): string {
  const { case: kind, value } = payload?.body ?? { case: undefined };
  if (kind === 'text') return value;
  if (kind === 'json') return JSON.stringify(toJson(ValueSchema, value));
  return kind === 'data' ? Buffer.from(value).toString('latin1') : '';
}
