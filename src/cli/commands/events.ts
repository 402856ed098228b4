/** `tailrace events …` */
import { EventSchema } from '../../../gen/tailrace/v1/event_pb.js';
import { command, group } from '../command.js';
import { fields } from '../fields.js';
import { listed, PAGES } from '../pages.js';
import { flag, pairs, past, text, texts } from '../rules.js';
import { publishEvent } from './events-publish.js';
import { EVENT_COLUMNS, getEvent, readStream } from './events-read.js';

const list = command({
  name: 'list',
  about: 'List events, newest first.',
  options: {
    type: texts('type', 'Only those of this type.'),
    stream: text('stream', 'Only those of this stream.'),
    flow: text('flow', 'Only those of this flow.'),
    cause: text('event', 'Only those that this event has caused.'),
    batch: text('batch', 'Only those of this batch.'),
    tag: pairs('Only those with this tag.'),
    since: past('Only those published since: a time, or how long ago, such as 2h.'),
    until: past('Only those published before it.'),
    payloads: flag('With payloads up to 64 KiB each (seen with --json).'),
    ...PAGES,
  },
  examples: [['Of one type, of the last ten minutes', 'tailrace events list --type order.placed --since 10m']],
  run: (session, given) =>
    listed(session, given, EventSchema, EVENT_COLUMNS, async (page) => {
      const asked = fields({
        namespace: session.namespace,
        types: [...given.type],
        stream: given.stream,
        flowId: given.flow,
        causeEventId: given.cause,
        batchId: given.batch,
        tags: { ...given.tag },
        minPublishTime: given.since,
        maxPublishTime: given.until,
        includePayloads: given.payloads,
        ...page,
      });
      const { events: items, nextPageToken } = await session.api.admin.listEvents(asked, session.bounds());
      return { items, nextPageToken };
    }),
});

export const events = group('events', 'Publish and look at events and streams.', [
  publishEvent,
  getEvent,
  list,
  readStream,
]);
