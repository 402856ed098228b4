/** One event, and the events of a stream. */
import { GetEventResponseSchema } from '../../../gen/tailrace/v1/engine_service_pb.js';
import { type Event, EventSchema } from '../../../gen/tailrace/v1/event_pb.js';
import { command } from '../command.js';
import { detailsOf } from '../details.js';
import { EXIT } from '../exit-codes.js';
import { fields } from '../fields.js';
import { listDocument, messageDocument } from '../json.js';
import { argument, flag, large, whole } from '../rules.js';
import { type Column, tableOf } from '../table.js';

export const EVENT_COLUMNS: readonly Column<Event>[] = [
  { title: 'event', of: ({ eventId }) => eventId },
  { title: 'type', flexible: true, of: ({ type }) => type },
  { title: 'published', of: ({ publishTime }, output) => output.time(publishTime) },
  { title: 'stream', flexible: true, spare: true, of: ({ stream }) => stream },
  { title: 'version', right: true, spare: true, of: ({ streamVersion }) => (streamVersion > 0n ? streamVersion : '') },
  { title: 'flow', spare: true, of: ({ flowId }) => flowId },
  { title: 'caused by', spare: true, of: ({ causeEventId, causeExecutionId }) => causeExecutionId || causeEventId },
  { title: 'hops', right: true, spare: true, of: ({ hops }) => hops || '' },
];

export const getEvent = command({
  name: 'get',
  about: 'Show one event with its payload.',
  details: 'An event that was accepted and is kept no longer ends with 4, as one that never was; which it is, is told.',
  arguments: { event: argument('event', 'Id of the event.') },
  examples: [['Its payload, for a program', "tailrace events get order-17 --json | jq '.event.payload'"]],
  async run(session, { event }) {
    const { output, namespace, api } = session;
    const answer = await api.engine.getEvent({ namespace, eventId: event }, session.bounds());
    if (output.json) await output.write(messageDocument(GetEventResponseSchema, answer));
    else if (answer.event) await output.write(detailsOf(EventSchema, answer.event, output));
    if (!answer.event)
      output.note(answer.accepted ? 'it was accepted, and is kept no longer' : 'no event of this id is known');
    return answer.event ? EXIT.ok : EXIT.notFound;
  },
});

const PAGE = 1_000;

export const readStream = command({
  name: 'stream',
  about: 'List the events of a stream by version.',
  arguments: { stream: argument('stream', 'Name of the stream.') },
  options: {
    from: large('version', 'First version. Default 1, or backward the newest.'),
    backward: flag('Newest first.'),
    limit: whole('count', 'Most to show. Default 50.', 1, 1_000_000),
    all: flag('Show all there are.'),
  },
  examples: [['The last five', 'tailrace events stream order-17 --backward --limit 5']],
  async run(session, given) {
    const { output, namespace, api } = session;
    const { stream, backward } = given;
    const most = given.all ? Number.POSITIVE_INFINITY : (given.limit ?? 50);
    const items: Event[] = [];
    for (let fromVersion = given.from; items.length < most; ) {
      const pageSize = Math.min(PAGE, most - items.length);
      const asked = fields({ namespace, stream, fromVersion, backward, pageSize });
      const { events } = await api.engine.readStream(asked, session.bounds());
      items.push(...events);
      const last = events.at(-1)?.streamVersion;
      fromVersion = last === undefined ? undefined : last + (backward ? -1n : 1n);
      if (events.length < pageSize || !fromVersion) break;
    }
    if (output.json) await output.write(listDocument(EventSchema, items, ''));
    else if (items.length > 0) await output.write(tableOf(EVENT_COLUMNS, items, output));
    return undefined;
  },
});
