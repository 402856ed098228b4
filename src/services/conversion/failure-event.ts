/** Events declared for giving up, from what is stored of them. */
import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { type FailureEvent, FailureEventSchema } from '../../../gen/tailrace/v1/execution_pb.js';
import { toPayload } from './payload.js';

/** As it stands in the database; what is absent there was not given. Read by failure_emissions in SQL, too. */
export interface StoredFailureEvent {
  /** DeadLetterReasons. Empty or absent: every one. */
  readonly reasons?: readonly number[];
  readonly type: string;
  /** Absent together: the engine describes the failure. The payload in base64. */
  readonly payload_type?: string;
  readonly payload?: string;
  readonly stream?: string;
  readonly batch_group?: string;
  readonly schema_version?: number;
  readonly tags?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly occurred_at?: string;
}

export function toFailureEvents(stored: readonly StoredFailureEvent[] | null): FailureEvent[] {
  return (stored ?? []).map(({ reasons = [], ...event }) =>
    create(FailureEventSchema, {
      reasons: [...reasons],
      event: {
        type: event.type,
        ...(event.payload_type !== undefined && {
          payload: toPayload(event.payload_type, Buffer.from(event.payload ?? '', 'base64')),
        }),
        stream: event.stream ?? '',
        batchGroup: event.batch_group ?? '',
        schemaVersion: event.schema_version ?? 0,
        tags: { ...event.tags },
        headers: { ...event.headers },
        ...(event.occurred_at !== undefined && { occurTime: timestampFromDate(new Date(event.occurred_at)) }),
      },
    }),
  );
}
