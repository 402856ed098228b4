/** How events and subscriptions stand at the end of a history. */
import type { Event } from '../../../gen/tailrace/v1/event_pb.js';
import { decodeCursor } from '../../../src/domain/cursor.js';
import type { Clients } from '../tailrace.js';
import type { FinalEvent, FinalSubscription } from './event-history.js';

type Admin = Clients['admin'];

const PAGE = 1_000;

export async function readFinalEvents(admin: Admin, namespaces: Iterable<string>): Promise<FinalEvent[]> {
  const all: FinalEvent[] = [];
  for (const namespace of namespaces) {
    let pageToken = '';
    do {
      const page = await admin.listEvents({ namespace, pageSize: PAGE, pageToken, includePayloads: true });
      all.push(...page.events.map(toFinal));
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
  }
  return all;
}

export async function readFinalSubscriptions(admin: Admin, namespaces: Iterable<string>): Promise<FinalSubscription[]> {
  const all: FinalSubscription[] = [];
  for (const namespace of namespaces) {
    let pageToken = '';
    do {
      const page = await admin.listSubscriptions({ namespace, pageSize: PAGE, pageToken });
      for (const { spec, backfilling, haltReason, unroutedEventCount } of page.subscriptions) {
        const behind = backfilling || unroutedEventCount > 0n;
        all.push({ namespace, name: spec?.name ?? '', halted: haltReason !== '', behind });
      }
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
  }
  return all;
}

function toFinal({ eventId: id, batch, payload, cursor, ...more }: Event): FinalEvent {
  const { namespace, type, stream, tags, headers, hops } = more;
  return {
    ...{ id, namespace, type, stream, tags, headers, hops },
    version: Number(more.streamVersion),
    flow: more.flowId,
    cause: more.causeEventId,
    emitter: more.causeExecutionId,
    ...(batch && { batch: { id: batch.batchId, index: batch.index, size: batch.size } }),
    contentType: payload?.contentType ?? '',
    text: payload?.body.case === 'text' ? payload.body.value : '',
    position: cursor === '' ? -1n : (decodeCursor(cursor).positions[0]?.position ?? -1n),
  };
}
