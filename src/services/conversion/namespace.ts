/** Namespaces in the words of the contract, complete with what the server says where they say nothing. */
import { create } from '@bufbuild/protobuf';
import { type Namespace, NamespaceSchema } from '../../../gen/tailrace/v1/namespace_pb.js';
import type { NamespaceRow } from '../../repository/namespaces/index.js';
import { toDuration, toTimestamp } from './times.js';

/** What holds for namespaces that say nothing else. Undefined: for ever. */
export interface NamespaceDefaults {
  readonly executionsMs: number | undefined;
  readonly logMs: number | undefined;
  readonly lettersMs: number | undefined;
  readonly eventIdsMs: number;
  /** Of the server, which no namespace can raise. */
  readonly maxPayloadBytes: number;
}

/** Absent is what is kept for ever. */
export function toNamespace(row: NamespaceRow, defaults: NamespaceDefaults): Namespace {
  const most = BigInt(defaults.maxPayloadBytes);
  const own = row.max_payload_bytes;
  return create(NamespaceSchema, {
    namespace: row.name,
    description: row.description,
    settings: {
      retention: {
        executions: toDuration(row.keep_executions_ms ?? defaults.executionsMs),
        log: toDuration(row.keep_log_ms ?? defaults.logMs),
        closedDeadLetters: toDuration(row.keep_letters_ms ?? defaults.lettersMs),
        eventIds: row.event_ids_forever ? undefined : toDuration(row.keep_event_ids_ms ?? defaults.eventIdsMs),
        eventIdsForever: row.event_ids_forever,
      },
      maxPayloadBytes: own !== null && own < most ? own : most,
      maxHops: row.max_hops,
    },
    version: row.version,
    createTime: toTimestamp(row.created_at),
    updateTime: toTimestamp(row.changed_at),
    floorTime: toTimestamp(row.floor_at),
  });
}
