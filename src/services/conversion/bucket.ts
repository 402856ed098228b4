/** Numbers of dead letters that share a value. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { DeadLetterReason } from '../../../gen/tailrace/v1/dead_letter_reason_pb.js';
import type { DeadLetterBucketSchema } from '../../../gen/tailrace/v1/redrive_pb.js';
import type { Bucket } from '../../repository/dead-letters/index.js';

/** `text`: of a value. */
export function toBuckets<V>(
  buckets: readonly Bucket<V>[],
  text: (value: V) => string = String,
): MessageInitShape<typeof DeadLetterBucketSchema>[] {
  return buckets.map(([value, count]) => ({ value: text(value), count: BigInt(count) }));
}

/** As the contract names it, such as PERMANENT. */
export function reasonText(reason: number): string {
  return DeadLetterReason[reason] ?? String(reason);
}
