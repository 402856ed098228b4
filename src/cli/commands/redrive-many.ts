/**
 * `tailrace dead-letters redrive-many`: looks first, asks, starts, and shows how far it has come.
 *
 * The redrive is the server's: whoever stops watching it does not stop it, unless they say so.
 */
import { randomUUID } from 'node:crypto';
import { StartRedriveResponseSchema } from '../../../gen/tailrace/v1/dead_letter_service_pb.js';
import {
  type DeadLetterBucket,
  type Redrive,
  RedriveSchema,
  RedriveState,
} from '../../../gen/tailrace/v1/redrive_pb.js';
import { pause } from '../../runtime/clock.js';
import { asked as answerTo, confirmed, YES } from '../asking.js';
import { command, type Given } from '../command.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { fields } from '../fields.js';
import { payloadOf } from '../input.js';
import { messageDocument } from '../json.js';
import type { Output } from '../output.js';
import { ProgressLine } from '../progress.js';
import { NOTE } from '../recurring-options.js';
import { flag, large, text, whole } from '../rules.js';
import type { Session } from '../session.js';
import { done, present } from '../showing.js';
import { type Column, tableOf } from '../table.js';
import { LETTER_COLUMNS } from './dead-letters-read.js';
import { LETTERS, letterFilter } from './letter-filter.js';
import { isOver, redriveSentence } from './redrives.js';

const LOOK_MS = 500;

const OPTIONS = {
  ...LETTERS,
  dryRun: flag('Only say what it would redrive.'),
  rate: whole('count', 'Redrives per second. Default 100.', 1, 1_000),
  canary: whole('count', 'How many to redrive first and wait for; 0: none. Default 10.', 0, 1_000),
  canaryFailures: whole('count', 'Failures of the canary that stop it. Default 1.', 1),
  most: large('count', 'Redrive no more than so many.'),
  patch: text('json', 'JSON merge patch on every input.'),
  detached: flag('Outside their flows.'),
  into: text('lane', 'Into this lane instead.', { names: 'lanes' }),
  ...NOTE,
  startOnly: flag('Print its id, and do not watch it.'),
  ...YES,
};

export const redriveMany = command({
  name: 'redrive-many',
  about: 'Redrive dead letters by filter: after a look and a question, at a rate, after a canary.',
  details:
    'Ends with 0 when it has finished, with 1 when it was stopped or its canary has failed. Ctrl-C asks whether to stop it, ' +
    'or only the watching.',
  options: OPTIONS,
  examples: [
    ['What it would do', 'tailrace dead-letters redrive-many --fingerprint 7f3a… --dry-run'],
    [
      'After the fix, carefully',
      'tailrace dead-letters redrive-many --type send-mail --since 24h --rate 20 --canary 50',
    ],
  ],
  async run(session, given) {
    const { output, api } = session;
    const request = await requestOf(session, given);
    if (given.dryRun || !given.yes) {
      const seen = await api.deadLetters.startRedrive({ ...request, dryRun: true }, session.bounds());
      const text = preview(seen, output);
      if (given.dryRun) {
        await output.write(output.json ? messageDocument(StartRedriveResponseSchema, seen) : text);
        return undefined;
      }
      output.note(text);
      const count = seen.redrive?.selectedCount ?? 0n;
      if (!(await confirmed(session, false, `Redrive ${count} dead letters?`))) return EXIT.refused;
    }
    const started = await api.deadLetters.startRedrive({ ...request, requestId: randomUUID() }, session.bounds());
    const redrive = present(started.redrive);
    if (given.startOnly) return await done(session, RedriveSchema, redrive, redrive.redriveId);
    output.note(`redrive ${redrive.redriveId}`);
    return await follow(session, redrive);
  },
});

async function requestOf(session: Session, given: Given<typeof OPTIONS>) {
  return fields({
    namespace: session.namespace,
    filter: letterFilter(given),
    ratePerSecond: given.rate,
    canaryCount: given.canary,
    canaryMaxFailures: given.canaryFailures,
    maxCount: given.most,
    detached: given.detached,
    lane: given.into,
    note: given.note,
    inputPatch: await payloadOf(session, given.patch, undefined),
  });
}

const BUCKETS: readonly Column<DeadLetterBucket & { readonly by: string }>[] = [
  { title: 'by', of: ({ by }) => by },
  { title: 'value', flexible: true, of: ({ value }) => value },
  { title: 'count', right: true, of: ({ count }) => count },
];

type Preview = Awaited<ReturnType<Session['api']['deadLetters']['startRedrive']>>;

function preview({ redrive, sample, types, reasons, estimatedDuration }: Preview, output: Output): string {
  const buckets = [...types.map((is) => ({ ...is, by: 'type' })), ...reasons.map((is) => ({ ...is, by: 'reason' }))];
  const time = estimatedDuration ? `, in about ${output.span(estimatedDuration) || '0s'}` : '';
  return [
    `${redrive?.selectedCount ?? 0n} dead letters would be redriven at ${redrive?.ratePerSecond ?? 0} per second${time}`,
    ...(buckets.length > 0 ? ['', tableOf(BUCKETS, buckets, output)] : []),
    ...(sample.length > 0 ? ['', 'the first of them:', tableOf(LETTER_COLUMNS, sample, output)] : []),
  ].join('\n');
}

async function follow(session: Session, started: Redrive): Promise<ExitCode | undefined> {
  const { output, signal, api, namespace } = session;
  const { redriveId } = started;
  const progress = new ProgressLine(output);
  const asking = new AbortController();
  if (output.asks) session.interruption.ask(() => asking.abort());
  let is = started;
  while (!isOver(is) && !signal.aborted) {
    progress.tell(fractionOf(is), redriveSentence(is));
    if (asking.signal.aborted) {
      progress.end();
      if (await stopWanted(session))
        await api.deadLetters.stopRedrive(
          { namespace, redriveId, reason: 'stopped at its terminal' },
          session.bounds(),
        );
      else session.interruption.end();
      if (!session.interruption.code) is = await look(session, redriveId);
      continue;
    }
    await pause(LOOK_MS, AbortSignal.any([signal, asking.signal]));
    if (!signal.aborted) is = await look(session, redriveId);
  }
  progress.end();
  if (!isOver(is)) {
    output.note(
      `it goes on; tailrace dead-letters redrives get ${redriveId} shows it, redrives stop ${redriveId} stops it`,
    );
    return undefined;
  }
  await done(session, RedriveSchema, is, redriveSentence(is));
  return is.state === RedriveState.FINISHED ? EXIT.ok : EXIT.refused;
}

async function look(session: Session, redriveId: string): Promise<Redrive> {
  const asked = { namespace: session.namespace, redriveId };
  return present((await session.api.deadLetters.getRedrive(asked, session.bounds())).redrive);
}

async function stopWanted(session: Session): Promise<boolean> {
  return /^s(top)?$/i.test(await answerTo(session, 'Stop the redrive (s), or only watching it (w)? [w] '));
}

function fractionOf({ startedCount, skippedCount, selectedCount }: Redrive): number {
  return selectedCount === 0n ? 1 : Number(startedCount + skippedCount) / Number(selectedCount);
}
