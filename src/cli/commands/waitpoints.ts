/** `tailrace waitpoints …` */
import { RotateWaitpointSecretResponseSchema } from '../../../gen/tailrace/v1/admin_service_pb.js';
import { type Waitpoint, WaitpointSchema, WaitpointStateSchema } from '../../../gen/tailrace/v1/signal_pb.js';
import { confirmed, YES } from '../asking.js';
import { command, group } from '../command.js';
import { nameOf } from '../enum-words.js';
import { EXIT } from '../exit-codes.js';
import { fields } from '../fields.js';
import { listed, PAGES } from '../pages.js';
import { REASON } from '../recurring-options.js';
import { choices, span, text } from '../rules.js';
import { done } from '../showing.js';
import type { Column } from '../table.js';

const COLUMNS: readonly Column<Waitpoint>[] = [
  { title: 'execution', of: ({ executionId }) => executionId },
  { title: 'key', flexible: true, of: ({ key }) => key },
  { title: 'state', state: true, of: ({ state }) => nameOf(WaitpointStateSchema, state) },
  { title: 'signals', right: true, of: ({ signalCount }) => signalCount },
  { title: 'created', of: ({ createTime }, output) => output.time(createTime) },
  { title: 'expires', spare: true, of: ({ expireTime }, output) => output.time(expireTime) },
];

const list = command({
  name: 'list',
  about: 'List waitpoints that still accept signals, next to expire first.',
  options: {
    execution: text('execution', 'Only those of this execution.'),
    state: choices(WaitpointStateSchema, 'Only waitpoints in this state.'),
    ...PAGES,
  },
  examples: [['Of one execution', 'tailrace waitpoints list --execution 01890a5d-…']],
  run: (session, given) =>
    listed(session, given, WaitpointSchema, COLUMNS, async (page) => {
      const asked = fields({
        namespace: session.namespace,
        executionId: given.execution,
        states: [...given.state],
        ...page,
      });
      const { waitpoints: items, nextPageToken } = await session.api.admin.listPendingWaitpoints(
        asked,
        session.bounds(),
      );
      return { items, nextPageToken };
    }),
});

const rotate = command({
  name: 'rotate-secret',
  about: 'Make a new secret for the tokens of waitpoints; older tokens are refused after a grace.',
  options: {
    grace: span('How long tokens of the present secret are accepted. Default 7d, at most 30d.'),
    ...REASON,
    ...YES,
  },
  examples: [['After a leak', 'tailrace waitpoints rotate-secret --grace 0s --reason "a token was published" --yes']],
  async run(session, { grace, reason, yes }) {
    if (!(await confirmed(session, yes, 'Tokens handed out so far will be refused after the grace. Go on?')))
      return EXIT.refused;
    const asked = fields({ namespace: session.namespace, grace, reason });
    const answer = await session.api.admin.rotateWaitpointSecret(asked, session.bounds());
    const until = answer.previousExpireTime
      ? `; tokens of ${answer.previousKeyId} end ${session.output.time(answer.previousExpireTime)}`
      : '';
    return await done(session, RotateWaitpointSecretResponseSchema, answer, `the secret is ${answer.keyId}${until}`);
  },
});

export const waitpoints = group('waitpoints', 'Look at waitpoints, and rotate the secret of their tokens.', [
  list,
  rotate,
]);
