/** How consumers stand at the end of a history, and which letters are of their entries. */
import type { ConsumerSpec } from '../../../gen/tailrace/v1/consumer_pb.js';
import type { DeadLetter } from '../../../gen/tailrace/v1/dead_letter_pb.js';
import { StartPosition } from '../../../gen/tailrace/v1/log_pb.js';
import { decodeCursor } from '../../../src/domain/cursor.js';
import type { Clients } from '../tailrace.js';
import type { FinalConsumer, FinalEntryLetter } from './consumer-history.js';

/** `names`: namespaces and names, as histories have them. */
export async function readFinalConsumers(admin: Clients['admin'], names: Iterable<string>): Promise<FinalConsumer[]> {
  const all: FinalConsumer[] = [];
  for (const name of names) {
    const [namespace = '', consumer = ''] = name.split(/\/(.*)/);
    const { consumer: found } = await admin.getConsumer({ namespace, consumer });
    const live = found?.generations.find((generation) => generation.live);
    if (!found?.spec || !live) throw new Error(`consumer ${name} is gone`);
    const position = positionIn(live.cursor);
    const { start, cursor } = found.spec;
    const fromStart = cursor === '' && start !== StartPosition.LATEST;
    all.push({ consumer: name, generation: live.generation, position, fromStart, ...selectsOf(found.spec) });
  }
  return all;
}

export function entryLetterOf({
  deadLetterId: letter,
  namespace,
  subject,
}: DeadLetter): Omit<FinalEntryLetter, 'state'> {
  if (subject?.subject.case !== 'consumerEntry') throw new Error(`${letter} is of no entry`);
  const { consumer, generation, cursor } = subject.subject.value;
  return { letter, consumer: `${namespace}/${consumer}`, generation, position: positionIn(cursor) };
}

function selectsOf({ filter }: ConsumerSpec): Pick<FinalConsumer, 'selects'> {
  const { kinds = [], eventTypes = [], lanes = [], types = [], streams = [], tags = {} } = filter ?? {};
  const more = [...lanes, ...types, ...streams, ...Object.keys(tags), filter?.flowId, filter?.executionId];
  return more.some((condition) => condition) ? {} : { selects: { kinds, eventTypes } };
}

function positionIn(cursor: string): bigint {
  return cursor === '' ? -1n : (decodeCursor(cursor).positions[0]?.position ?? -1n);
}
