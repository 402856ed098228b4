/** What a caller writes to ask for a consumer, and the message made from it. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { type ConsumerSpecSchema, PoisonPolicy, SplitKey } from '../../gen/tailrace/v1/consumer_pb.js';
import { type LogFilterSchema, StartPosition } from '../../gen/tailrace/v1/log_pb.js';

/** The oldest entry kept, after the newest one, or after a cursor. */
export type Place = 'earliest' | 'latest' | { readonly cursor: string };

export interface NewConsumer {
  /** Unique in the namespace. 1 to 200 bytes. */
  readonly name: string;
  /** What it follows; a change applies to what is fetched after it. Default everything. */
  readonly filter?: MessageInitShape<typeof LogFilterSchema>;
  /** Which entries keep their order among each other: those of a flow (default), or of a stream. Cannot be changed. */
  readonly splitBy?: 'flow' | 'stream';
  /** How many members can share the work. 1 to 256, default 1. Changed by a rebuild only. */
  readonly parts?: number;
  /** Where a new one begins. Default `earliest`. */
  readonly start?: Place;
  /** Of one entry, before `onPoison` decides. 1 to 100, default 3. */
  readonly maxTries?: number;
  /** Before the second try; doubles from try to try up to `maxBackoffMs`. Default 1 s, and 30 s. */
  readonly initialBackoffMs?: number;
  readonly maxBackoffMs?: number;
  /** Stop at the entry (default), or park it as a dead letter, with what follows of its key behind it. */
  readonly onPoison?: 'halt' | 'park';
  /** Most entries parked at once; with more it halts. Default 10,000. */
  readonly maxParked?: number;
  /** Retention keeps what it has not handled. */
  readonly holdLog?: boolean;
}

export function toConsumerSpec(asked: NewConsumer): MessageInitShape<typeof ConsumerSpecSchema> {
  const { name, filter, initialBackoffMs, maxBackoffMs, start } = asked;
  return {
    name,
    splitKey: asked.splitBy === 'stream' ? SplitKey.STREAM : SplitKey.FLOW,
    partCount: asked.parts ?? 0,
    maxTries: asked.maxTries ?? 0,
    poisonPolicy: asked.onPoison === 'park' ? PoisonPolicy.PARK : PoisonPolicy.HALT,
    maxParked: asked.maxParked ?? 0,
    holdLog: asked.holdLog ?? false,
    ...(filter && { filter }),
    ...(initialBackoffMs !== undefined && { initialBackoff: durationFromMs(initialBackoffMs) }),
    ...(maxBackoffMs !== undefined && { maxBackoff: durationFromMs(maxBackoffMs) }),
    ...(start !== undefined && placeOf(start)),
  };
}

export function placeOf(place: Place): { cursor: string } | { start: StartPosition } {
  if (typeof place === 'object') return { cursor: place.cursor };
  return { start: place === 'earliest' ? StartPosition.EARLIEST : StartPosition.LATEST };
}
