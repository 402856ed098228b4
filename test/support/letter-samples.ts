/** A request to each RPC of the desk. */
import { DeadLetterResolution, DeadLetterState } from '../../gen/tailrace/v1/dead_letter_pb.js';
import { DeadLetterReason } from '../../gen/tailrace/v1/dead_letter_reason_pb.js';
import { DeadLetterService } from '../../gen/tailrace/v1/dead_letter_service_pb.js';
import { type Estate, HOUR, instant, text } from './estate.js';
import { type SampleRequest, sample } from './sample.js';

interface Shared {
  readonly page: object;
  /** A range of times of creation. */
  readonly created: object;
}

export function letterSamples(estate: Estate, { page, created }: Shared): SampleRequest[] {
  const { namespace, lane, type, queued, letter, flow, mark, redrive } = estate;
  const dead = DeadLetterService.method;
  const filter = {
    lanes: [lane],
    types: [type],
    reasons: [DeadLetterReason.PERMANENT],
    fingerprints: ['0123456789abcdef'],
    tags: { secret: estate.secret },
    ...created,
    states: [DeadLetterState.OPEN],
    resolutions: [DeadLetterResolution.IGNORED],
    actor: 'me',
    executionId: queued,
    flowId: flow.id,
    subscriptions: [estate.subscription],
    consumers: [estate.consumer.name],
    eventTypes: [estate.event.type],
  };
  const one = { namespace, deadLetterId: letter.id, expectedVersion: letter.version, actor: 'me' };
  const patch = text('{"a":null}');
  return [
    sample(dead.getDeadLetter, { namespace, deadLetterId: letter.id }),
    sample(dead.listDeadLetters, { namespace, filter, ...page, includePayloads: true }),
    sample(dead.countDeadLetters, { namespace, filter, maxCount: 100 }),
    sample(dead.getDeadLetterStats, { namespace, filter }),
    sample(dead.listDeadLetterGroups, { namespace, filter, ...page }),
    sample(
      dead.redriveDeadLetter,
      {
        ...one,
        requestId: `redrive-${mark}`,
        input: text('again'),
        detached: true,
        runTime: instant(Date.now() + HOUR),
        lane,
        note: 'fixed',
      },
      { ...one, inputPatch: patch },
    ),
    sample(dead.startRedrive, {
      namespace,
      requestId: `redrives-${mark}`,
      // It is answered as it was put.
      filter: { ...filter, tags: { kept: 'yes' }, resolutions: [] },
      dryRun: true,
      ratePerSecond: 10,
      canaryCount: 1,
      canaryMaxFailures: 1,
      maxCount: 1n,
      detached: true,
      lane,
      actor: 'me',
      note: 'fixed',
      inputPatch: patch,
    }),
    sample(dead.getRedrive, { namespace, redriveId: redrive }),
    sample(dead.stopRedrive, { namespace, redriveId: redrive, reason: 'enough' }),
    sample(dead.resolveDeadLetters, {
      namespace,
      requestId: `resolve-${mark}`,
      deadLetters: [{ deadLetterId: letter.id, expectedVersion: letter.version }],
      resolution: DeadLetterResolution.IGNORED,
      actor: 'me',
      note: 'known',
    }),
    sample(dead.reopenDeadLetter, { ...one, note: 'not so' }),
    sample(dead.purgeDeadLetters, {
      namespace,
      filter,
      closedBeforeTime: instant(Date.now() - 2 * HOUR),
      maxCount: 100,
      dryRun: true,
      actor: 'me',
      note: 'old',
    }),
  ];
}
