/** Whoever changes something under a name is named in the log with it. The changes come from the table of who may call what. */
import { create, type DescMethod, toBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { AdminService } from '../../../gen/tailrace/v1/admin_service_pb.js';
import { DeadLetterService } from '../../../gen/tailrace/v1/dead_letter_service_pb.js';
import { EngineService } from '../../../gen/tailrace/v1/engine_service_pb.js';
import { type LogEntry, StartPosition } from '../../../gen/tailrace/v1/log_pb.js';
import { Role } from '../../../gen/tailrace/v1/namespace_pb.js';
import { type Estate, makeEstate } from '../../support/estate.js';
import { type Guarded, startGuarded } from '../../support/guarded.js';
import { callRaw } from '../../support/raw-call.js';
import { sample } from '../../support/sample.js';
import { METHODS, nameOf, requestsTo } from '../../support/sample-requests.js';

const READS = /^(Get|List|Count|Explain)/;
const { cancelExecution, cancelFlow } = EngineService.method;
const { resolveDeadLetters, reopenDeadLetter, redriveDeadLetter, startRedrive } = DeadLetterService.method;
/** In an order in which each finds something to do: a letter is closed, open again, redriven; what is canceled has ended. */
const FIRST: readonly DescMethod[] = [resolveDeadLetters, reopenDeadLetter, redriveDeadLetter];
const LAST: readonly DescMethod[] = [cancelExecution, cancelFlow];
/** Everything an operator or admin changes. */
const CHANGES: readonly DescMethod[] = [
  ...FIRST,
  ...METHODS.filter(
    (method) =>
      (method.parent === AdminService || method.parent === DeadLetterService) &&
      !READS.test(method.name) &&
      !FIRST.includes(method),
  ),
  ...LAST,
];
/** What a sample does not change: it selects nothing, or finds everything as it is to be. */
const WITHOUT_ENTRY = ['PurgeDeadLetters', 'StopRedrive', 'PromoteConsumer', 'RunRetention'];

let tailrace: Guarded;
beforeAll(async () => {
  tailrace = await startGuarded();
});
afterAll(async () => await tailrace.stop());

test('every change is in the log with the name of who made it', async () => {
  const namespace = 'estate';
  await tailrace.admin.putNamespace({ namespace });
  const estate = await makeEstate(tailrace, namespace);
  const named = new Map<string, string>();
  const wrong: string[] = [];
  for (const method of CHANGES) {
    const actor = `who calls ${method.name}`;
    const holder = await tailrace.as({ name: actor, namespace, roles: [Role.ADMIN] });
    const answer = await callRaw(tailrace.url, method, body(method, estate), holder.headers);
    const reason = 'refusal' in answer ? answer.refusal.detail?.reason : undefined;
    // What ended by an earlier change cannot be changed any more.
    if (reason === undefined) named.set(method.name, actor);
    else if (reason !== 'UNIMPLEMENTED') wrong.push(`${method.name}: ${reason}`);
  }
  const entries = await logOf(namespace);
  const actors = new Set(entries.map(({ actor }) => actor.replace(/ \(for .*\)$/, '')));
  const unnamed = [...named].filter(([, actor]) => !actors.has(actor)).map(([name]) => name);
  expect(unnamed.filter((name) => !WITHOUT_ENTRY.includes(name))).toEqual([]);
  expect(wrong).toEqual([]);
  expect(named.size).toBeGreaterThan(25);
});

/** The sample, but where that knows versions of before, is a rehearsal or takes a step back, and of a worker that cancels what it holds. */
function body(method: DescMethod, estate: Estate): Uint8Array {
  const { namespace, queued, worker, lane, letter } = estate;
  const own = [
    sample(cancelExecution, { namespace, executionId: queued }),
    sample(reopenDeadLetter, { namespace, deadLetterId: letter.id }),
    sample(redriveDeadLetter, { namespace, deadLetterId: letter.id }),
    sample(startRedrive, { namespace, filter: { lanes: [`no ${lane}`] } }),
    sample(AdminService.method.drainWorker, { namespace, worker }),
  ].find((one) => one.method === method);
  const { message } = own ?? requestsTo(estate).get(nameOf(method)) ?? { message: create(method.input) };
  return toBinary(method.input, message);
}

/** All that is in it by now. */
async function logOf(namespace: string): Promise<LogEntry[]> {
  const last = await tailrace.as({ name: 'who comes last', namespace, roles: [Role.ADMIN] });
  await last.admin.pauseLane({ lane: 'last' });
  const entries: LogEntry[] = [];
  for await (const message of tailrace.completion.watchLog({ namespace, start: StartPosition.EARLIEST })) {
    entries.push(...message.entries);
    if (entries.some(({ actor }) => actor === 'who comes last')) break;
  }
  return entries;
}
