/** Signals in the words of the contract. */
import { create } from '@bufbuild/protobuf';
import { type Signal, SignalSchema } from '../../../gen/tailrace/v1/signal_pb.js';
import type { ReceivedSignal } from '../../repository/suspensions/index.js';
import { toOptionalPayload } from './payload.js';
import { toTimestamp } from './times.js';

export function toSignal(received: ReceivedSignal): Signal {
  const payload = toOptionalPayload(received.payload_type, received.payload);
  return create(SignalSchema, {
    signalId: received.id,
    name: received.name,
    source: received.source,
    sourceId: received.source_id,
    waitpointKey: received.waitpoint ?? '',
    receiveTime: toTimestamp(received.received_at),
    ...(payload && { payload }),
  });
}
