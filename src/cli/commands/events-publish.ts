/** `tailrace events publish` */
import { randomUUID } from 'node:crypto';
import { PublishedEventSchema } from '../../../gen/tailrace/v1/engine_service_pb.js';
import { fromItemError } from '../../client/errors.js';
import { command } from '../command.js';
import { fields } from '../fields.js';
import { payloadOf, payloadRules } from '../input.js';
import { argument, large, pairs, past, text } from '../rules.js';
import { done, present } from '../showing.js';

export const publishEvent = command({
  name: 'publish',
  about: 'Publish an event and print its id.',
  details: 'A repeat with the same --id publishes nothing.',
  arguments: { type: argument('type', 'Type of the event, such as order.placed.') },
  options: {
    id: text('event', 'Its id, any text of up to 200 bytes. Default: a fresh one.'),
    ...payloadRules('input', 'The payload'),
    stream: text('stream', 'Stream to append it to.'),
    expectedStreamVersion: large('version', 'Refuse unless the stream is at this version.'),
    flow: text('flow', 'Flow it belongs to.'),
    cause: text('event', 'Event that caused it.'),
    tag: pairs('Tag.'),
    header: pairs('Header.'),
    occurred: past('When it happened, if not now: a time, or how long ago, such as 2h.'),
  },
  examples: [
    ['With a payload in the line', `tailrace events publish order.placed --id order-17 --input '{"total":12}'`],
    ['As the next one of a stream', 'tailrace events publish order.paid --stream order-17 --expected-stream-version 1'],
  ],
  async run(session, given) {
    const event = fields({
      eventId: given.id ?? randomUUID(),
      type: given.type,
      payload: await payloadOf(session, given.input, given.inputFile, given.contentType),
      stream: given.stream,
      expectedStreamVersion: given.expectedStreamVersion,
      flowId: given.flow,
      causeEventId: given.cause,
      tags: { ...given.tag },
      headers: { ...given.header },
      occurTime: given.occurred,
    });
    const asked = { namespace: session.namespace, events: [event] };
    const { results } = await session.api.engine.publishEvents(asked, session.bounds());
    const { result } = present(results[0]);
    if (result.case === 'error') throw fromItemError(result.value);
    const published = present(result.value);
    if (published.duplicate) session.output.note('it was published before; nothing was done');
    return await done(session, PublishedEventSchema, published, published.eventId);
  },
});
