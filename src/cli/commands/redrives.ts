/** `tailrace dead-letters redrives …`: bulk redrives under way. */
import { type Redrive, RedriveSchema, RedriveState, RedriveStateSchema } from '../../../gen/tailrace/v1/redrive_pb.js';
import { command, group } from '../command.js';
import { nameOf } from '../enum-words.js';
import { fields } from '../fields.js';
import { REASON } from '../recurring-options.js';
import { argument } from '../rules.js';
import { done, present, shown } from '../showing.js';
import { WATCH } from '../watching.js';

const REDRIVE = { redrive: argument('redrive', 'Id of the bulk redrive.') };

/** Nothing more will be started. */
export function isOver({ state }: Redrive): boolean {
  return state === RedriveState.STOPPED || state === RedriveState.FINISHED;
}

export function redriveSentence(is: Redrive): string {
  const { state, startedCount, selectedCount, succeededCount, failedCount, runningCount, skippedCount, stopReason } =
    is;
  const parts = [
    `${nameOf(RedriveStateSchema, state)}: ${startedCount} of ${selectedCount} started`,
    `${succeededCount} succeeded`,
    `${failedCount} open again`,
    ...(runningCount > 0n ? [`${runningCount} not ended yet`] : []),
    ...(skippedCount > 0n ? [`${skippedCount} passed over`] : []),
  ];
  return parts.join(', ') + (stopReason ? ` (${stopReason})` : '');
}

const get = command({
  name: 'get',
  about: 'Show a bulk redrive with its progress.',
  arguments: REDRIVE,
  options: WATCH,
  examples: [['Until Ctrl-C', 'tailrace dead-letters redrives get 01890a5d-… --watch']],
  run: (session, { redrive, watch }) => {
    const asked = { namespace: session.namespace, redriveId: redrive };
    const fetch = async () => (await session.api.deadLetters.getRedrive(asked, session.bounds())).redrive;
    return shown(session, RedriveSchema, fetch, { watch });
  },
});

const stop = command({
  name: 'stop',
  about: 'Stop a bulk redrive. What it has started goes on.',
  arguments: REDRIVE,
  options: REASON,
  examples: [['At once', 'tailrace dead-letters redrives stop 01890a5d-… --reason "it makes things worse"']],
  async run(session, { redrive, reason }) {
    const asked = fields({ namespace: session.namespace, redriveId: redrive, reason });
    const is = present((await session.api.deadLetters.stopRedrive(asked, session.bounds())).redrive);
    return await done(session, RedriveSchema, is, redriveSentence(is));
  },
});

export const redrives = group('redrives', 'Look at a bulk redrive, or stop it.', [get, stop]);
