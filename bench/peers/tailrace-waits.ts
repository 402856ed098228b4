/** Waits over the generated clients, and with the worker library: a worker that parks what it holds; somebody else signals. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { SignalExecutionRequestSchema } from '../../gen/tailrace/v1/engine_service_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { inputOf, NO_ORDINAL } from '../content.js';
import { Tally } from './contestant.js';
import { leaseOf, TailraceCalls } from './tailrace-calls.js';
import { startTailraceServer } from './tailrace-server.js';
import { Expected, type WaitContestant, type Waits, type WaitsOptions, type WaitTimes } from './waits.js';

const TYPE = 'wait';
const SIGNAL = 'go';
const WAITPOINT = 'door';
const TIMEOUT = durationFromMs(3_600_000);
/** Of which one waits at the server while the other's answer is on its way. */
const CLAIMERS = 2;
const MOST_AT_ONCE = 500;
const PATIENCE_MS = 30_000;

const PAYLOAD = { body: { case: 'text' as const, value: inputOf(NO_ORDINAL) } };

type Target = NonNullable<MessageInitShape<typeof SignalExecutionRequestSchema>['target']>;

/** `byToken`: with a waitpoint per suspension, whose token is enough to signal; else by the execution's id. */
async function start({ ground, profileInto }: WaitsOptions, byToken: boolean): Promise<Waits> {
  const server = await startTailraceServer(ground.url, { profileInto });
  const worker = new TailraceCalls(server.url);
  const sender = new TailraceCalls(server.url);
  const held: Claim[] = [];
  const started = new Tally();
  const resumed = new Expected<Claim>();
  worker.claim({ type: TYPE, size: MOST_AT_ONCE }, CLAIMERS, (claims) => {
    const first = claims.filter(({ resume }) => resume === undefined);
    held.push(...first);
    started.add(first.length);
    for (const claim of claims) if (claim.resume) resumed.arrived(claim.executionId, claim);
  });
  return {
    prepare: async (count) => {
      const target = started.count + count;
      await worker.createMany({ type: TYPE, input: PAYLOAD }, count);
      await worker.loops.unlessFailed(started.reach(target, PATIENCE_MS));
    },
    cycle: () => worker.loops.unlessFailed(cycle({ worker, sender, resumed, byToken }, held.pop())),
    serverPid: server.pid,
    stop: async () => {
      try {
        await sender.close();
        await worker.close();
      } finally {
        await server.stop();
      }
    },
  };
}

interface Parties {
  readonly worker: TailraceCalls;
  readonly sender: TailraceCalls;
  readonly resumed: Expected<Claim>;
  readonly byToken: boolean;
}

async function cycle({ worker, sender, resumed, byToken }: Parties, held: Claim | undefined): Promise<WaitTimes> {
  if (held === undefined) throw new Error('more cycles than were prepared');
  const goesOn = resumed.arrival(held.executionId);
  const beganMs = performance.now();
  const target = await suspend(worker, held, byToken);
  const signaledMs = performance.now();
  const told = sender.engine.signalExecution({ target, name: SIGNAL, payload: PAYLOAD });
  // It may go on before whoever signaled is answered.
  const claim = await Promise.race([goesOn, told.then(() => goesOn)]);
  const resumeMs = performance.now() - signaledMs;
  await worker.complete([claim]);
  const cycleMs = performance.now() - beganMs;
  await told;
  return { resumeMs, cycleMs };
}

/** Answers how to signal it. */
async function suspend({ engine }: TailraceCalls, held: Claim, byToken: boolean): Promise<Target> {
  const { suspended, waitpoints } = await engine.suspendExecution({
    lease: leaseOf(held),
    condition: {
      condition: { case: 'signal', value: { name: SIGNAL, waitpointKey: byToken ? WAITPOINT : '' } },
    },
    ...(byToken && { waitpoints: [{ key: WAITPOINT }] }),
    timeout: TIMEOUT,
  });
  if (!suspended) throw new Error('a suspension did not park');
  if (!byToken) return { case: 'execution', value: { executionId: held.executionId } };
  return { case: 'waitpointToken', value: waitpoints[0]?.token ?? '' };
}

export const signaledById: WaitContestant = {
  name: 'Tailrace, generated clients',
  start: (options) => start(options, false),
};

export const signaledByToken: WaitContestant = {
  name: 'Tailrace, signaled through a token',
  start: (options) => start(options, true),
};
