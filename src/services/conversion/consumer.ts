/** Consumers in the words of the contract. */
import { create, fromJson, type JsonValue, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type Consumer,
  type ConsumerGenerationSchema,
  type ConsumerPartSchema,
  ConsumerSchema,
  type ConsumerSpec,
  ConsumerSpecSchema,
} from '../../../gen/tailrace/v1/consumer_pb.js';
import type { Lag } from '../../log/lag.js';
import type { ConsumerRow, GenerationRow, PartRow } from '../../repository/consumers/index.js';
import { toFailure } from './failure.js';
import { toDuration, toTimestamp } from './times.js';

export interface ShownConsumer {
  readonly row: ConsumerRow;
  readonly generations: readonly { readonly row: GenerationRow; readonly lag: Lag }[];
  /** None in lists. */
  readonly parts: readonly PartRow[];
  readonly namespace: string;
  readonly head: bigint;
  /** The database's clock. */
  readonly now: Date;
  readonly cursorAt: (position: bigint) => string;
}

export function toConsumer(shown: ShownConsumer): Consumer {
  const { row, generations, namespace, head, now, cursorAt } = shown;
  const live = generations.find(({ row: { generation } }) => generation === row.generation);
  return create(ConsumerSchema, {
    namespace,
    spec: { ...toConsumerSpec(row.spec), partCount: live?.row.part_count ?? 0 },
    state: row.state,
    stateReason: row.state_reason,
    version: row.version,
    generations: generations.map(({ row: generation, lag }) => ({
      generation: generation.generation,
      live: generation.generation === row.generation,
      partCount: generation.part_count,
      cursor: cursorAt(least(generation.positions)),
      parkedCount: generation.parked,
      createTime: toTimestamp(generation.created_at),
      ...lagOf(lag, now),
    })),
    headCursor: cursorAt(head),
    parts: shown.parts.map((part) => partOf(part, cursorAt)),
    createTime: toTimestamp(row.created_at),
    updateTime: toTimestamp(row.changed_at),
    actor: row.actor,
  });
}

/** As stored: defaults are filled in, and what counts at the making only is left out, as is the number of parts. */
export function toConsumerSpec(spec: unknown): ConsumerSpec {
  return fromJson(ConsumerSpecSchema, spec as JsonValue);
}

/** What all parts have reached. */
function least([first = 0n, ...others]: readonly bigint[]): bigint {
  let found = first;
  for (const position of others) if (position < found) found = position;
  return found;
}

function lagOf({ entries, capped, since }: Lag, now: Date): MessageInitShape<typeof ConsumerGenerationSchema> {
  const age = since && { lagAge: toDuration(Math.max(now.getTime() - since.getTime(), 0)) };
  return { lag: BigInt(entries), lagCapped: capped, ...age };
}

function partOf(part: PartRow, cursorAt: (position: bigint) => string): MessageInitShape<typeof ConsumerPartSchema> {
  return {
    generation: part.generation,
    part: part.part,
    epoch: part.epoch,
    ownerId: part.owner ?? '',
    expireTime: toTimestamp(part.expires_at),
    cursor: cursorAt(part.position),
    tryCount: part.tries,
    retryTime: toTimestamp(part.retry_at),
    ...(part.failed_position !== null && { lastFailure: toFailure(part) }),
    ...(part.halted && { haltCursor: cursorAt(part.failed_position ?? part.position) }),
  };
}
