/**
 * Makes a planned flow and works through it as several workers would, each member as its script says, in an order that
 * dice and the machine decide; then holds against the oracle what the log tells of it.
 */
import { ConnectError } from '@connectrpc/connect';
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import { CancelMode } from '../../../gen/tailrace/v1/cancel_pb.js';
import { ErrorDetailSchema } from '../../../gen/tailrace/v1/error_pb.js';
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { FlowCancelScope, FlowFailurePolicy, FlowState } from '../../../gen/tailrace/v1/flow_pb.js';
import { JoinMode, OnSatisfied } from '../../../gen/tailrace/v1/join_pb.js';
import type { Claim } from '../../../gen/tailrace/v1/lease_pb.js';
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import { SuspensionTimeoutBehavior } from '../../../gen/tailrace/v1/signal_pb.js';
import { pause } from '../../../src/runtime/clock.js';
import { ItemRefused, leaseOf, ok, seconds, text } from '../by-hand.js';
import { Chance } from '../chance.js';
import { eventually } from '../eventually.js';
import { FlowsByHand, type Graph, type MadeFlow } from '../flows-by-hand.js';
import type { Recorded } from '../history/recorded.js';
import type { Clients } from '../tailrace.js';
import { WaitsByHand } from '../waits-by-hand.js';
import { observationsOf } from './observe.js';
import { Oracle } from './oracle.js';
import type { Plan, PlanJoin } from './plan.js';

const WORKERS = 3;
const KEYS = ['a', 'b', ''];
const BOUND_MS = 30_000;
const MODES = { all: JoinMode.ALL, any: JoinMode.ANY, quorum: JoinMode.QUORUM } as const;
/** What a holder is told who was too late, because somebody or a join was faster. */
const TOO_LATE = new Set(['LEASE_LOST', 'EXECUTION_TERMINAL', 'WRONG_STATE']);

export interface Circumstances {
  readonly recorded: Recorded;
  /** Where the workers call; asked for each call, because servers come and go. */
  readonly servers: () => readonly Clients[];
  /** Servers die under calls, and so does a worker now and then. */
  readonly rough: boolean;
  /** Few may run at once, in all and per key, and now and then one waits for a signal. */
  readonly narrow?: boolean;
}

let narrowed = 0;

export interface Driven {
  /** What is wrong; nothing if nothing is. */
  readonly objections: readonly string[];
  readonly flow: MadeFlow;
}

export async function drive(plan: Plan, around: Circumstances): Promise<Driven> {
  const dice = new Chance(plan.seed);
  const hand = new FlowsByHand(around.recorded.clients, 'maker');
  const spec = {
    failurePolicy: plan.failFast ? FlowFailurePolicy.CANCEL_REST : FlowFailurePolicy.CONTINUE,
    cancelPolicy: { mode: CancelMode.NOW },
  };
  const lane = around.narrow ? await narrowLane(around.recorded.clients) : undefined;
  const flow = await hand.flow(graphOf(plan, around), spec, lane);
  const progress = new Progress(around.recorded, flow.id);
  await Promise.all([
    ...Array.from({ length: WORKERS }, () => work(plan, around, flow, progress, dice.fork())),
    cancelInTime(plan, flow, progress),
  ]);
  return { objections: await judge(plan, around.recorded, flow, progress), flow };
}

async function narrowLane({ admin }: Clients): Promise<string> {
  const lane = `narrow ${++narrowed}`;
  await admin.updateLane({ lane, settings: { concurrencyLimit: 3, defaultKeyLimit: 1 + (narrowed % 2) } });
  return lane;
}

function graphOf(plan: Plan, { rough, narrow }: Circumstances): Graph {
  // Whatever crashes do to leases, a member is given up only if its script says so.
  const spec = rough ? { retryPolicy: { countLostLeases: false, maxReclaims: 1_000 } } : {};
  const policyOf = ({ mode, quorum, distinctSources, cancelRest }: PlanJoin) => ({
    ...{ mode: MODES[mode], quorum, distinctSources },
    onSatisfied: cancelRest ? OnSatisfied.CANCEL_REST : OnSatisfied.LET_RUN,
  });
  return {
    members: Object.fromEntries(
      plan.members.map(({ name, optional }, i) => {
        const concurrencyKey = narrow ? (KEYS[i % KEYS.length] ?? '') : '';
        return [name, { ...spec, optionalInFlow: optional, concurrencyKey }];
      }),
    ),
    links: plan.members.flatMap(({ name, join }) =>
      (join?.inputs ?? []).map(({ from, optional, source }) => [from, name, { optional, source }] as const),
    ),
    joins: Object.fromEntries(plan.members.flatMap(({ name, join }) => (join ? [[name, policyOf(join)]] : []))),
  };
}

/** How far the flow is, as the log tells. */
class Progress {
  #seen = 0;
  #ends = 0;
  #settled = false;

  constructor(
    readonly recorded: Recorded,
    readonly flow: string,
  ) {}

  get settled(): boolean {
    this.#read();
    return this.#settled;
  }

  get ends(): number {
    this.#read();
    return this.#ends;
  }

  #read(): void {
    const { entries } = this.recorded.log;
    for (; this.#seen < entries.length; this.#seen++) {
      const entry = entries[this.#seen];
      if (entry?.flowId !== this.flow) continue;
      if (entry.toState >= ExecutionState.SUCCEEDED) this.#ends++;
      if (entry.kind === LogEntryKind.FLOW_SETTLED) this.#settled = true;
    }
  }
}

async function work(plan: Plan, around: Circumstances, flow: MadeFlow, progress: Progress, dice: Chance) {
  const scripts = new Map(plan.members.map(({ name, script }) => [name, script]));
  while (!progress.settled) {
    const clients = dice.pick(around.servers());
    if (!clients) throw new Error('no server');
    const hand = new FlowsByHand(clients, 'worker', `worker ${dice.below(100)}`);
    const ask = { lanes: [{ lane: flow.lane }], maxExecutions: 1 + dice.below(4), wait: seconds(0.1) };
    const leases = around.rough ? { leaseDuration: seconds(1) } : {};
    const claims = (await unlessRefused(around, hand.claim({ ...ask, ...leases }))) ?? [];
    // A worker that dies takes what it holds with it; others take that up when the leases end.
    const begun = around.rough && dice.percent(10) ? [] : claims;
    const waiting = around.narrow ? begun.filter(({ resume }) => resume === undefined && dice.percent(30)) : [];
    const parked = new Set<Claim>();
    await Promise.all(
      waiting.map(async (claim) => {
        if (await waitForSignal(around, clients, claim)) parked.add(claim);
      }),
    );
    const kept = begun.filter((claim) => !parked.has(claim));
    const completed = kept.filter(({ type }) => scripts.get(type) === 'succeeds');
    await pause(dice.below(6));
    const together = dice.percent(40) ? [completed] : completed.map((claim) => [claim]);
    await Promise.all([
      ...together.map((batch) => complete(around, hand, batch)),
      ...kept
        .filter((claim) => !completed.includes(claim))
        .map((claim) => {
          const failureClass = scripts.get(claim.type) === 'stops' ? FailureClass.CANCELED : FailureClass.PERMANENT;
          return unlessRefused(around, hand.fail(claim, failureClass));
        }),
    ]);
  }
}

/**
 * Until somebody signals; in rough times perhaps nobody does. Answers whether it was parked: it need not wait when its
 * condition holds already, and may not when its flow is canceled but for what runs.
 */
async function waitForSignal(around: Circumstances, clients: Clients, claim: Claim): Promise<boolean> {
  const hand = new WaitsByHand(clients);
  const wait = { timeout: seconds(2), timeoutBehavior: SuspensionTimeoutBehavior.RESUME };
  const answer = await unlessRefused(around, hand.suspend(claim, wait));
  await unlessRefused(around, hand.signal(claim.executionId));
  return answer?.suspended === true;
}

async function complete(around: Circumstances, { clients }: FlowsByHand, claims: readonly Claim[]): Promise<void> {
  if (claims.length === 0) return;
  const completions = claims.map((claim) => ({ lease: leaseOf(claim), result: text(claim.type) }));
  const answer = await unlessRefused(around, clients.engine.completeExecutions({ completions }));
  for (const result of answer?.results ?? []) await unlessRefused(around, Promise.resolve(result).then(ok));
}

/**
 * Who comes too late is told so, and where servers die, calls die with them, or find locked what they had; anything else fails
 * the test.
 */
async function unlessRefused<T>({ rough }: Circumstances, call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    const detail =
      error instanceof ItemRefused ? error.detail : ConnectError.from(error).findDetails(ErrorDetailSchema)[0];
    const reason = detail?.reason ?? '';
    if (TOO_LATE.has(reason)) return undefined;
    if (rough && (!(error instanceof ItemRefused) || reason === 'CONTENTION')) return undefined;
    throw error;
  }
}

async function cancelInTime({ cancel }: Plan, flow: MadeFlow, progress: Progress): Promise<void> {
  if (!cancel) return;
  await eventually(() => progress.ends >= cancel.afterEnds || progress.settled, BOUND_MS);
  const scope = cancel.scope === 'pending' ? FlowCancelScope.PENDING_ONLY : FlowCancelScope.ALL;
  await flow.cancel({ scope, reason: 'as planned' });
}

async function judge(plan: Plan, recorded: Recorded, flow: MadeFlow, progress: Progress): Promise<string[]> {
  const names = new Map([...flow.ids].map(([name, id]) => [id, name]));
  const entries = recorded.log.entries.filter(({ flowId }) => flowId === progress.flow);
  const oracle = new Oracle(plan);
  const observations = observationsOf(entries, (id) => names.get(id) ?? id);
  const found = observations.flatMap((observation) => oracle.observe(observation) ?? []);
  found.push(...oracle.unfinished());
  const state = FlowState[(await flow.get()).state];
  if (state !== oracle.flowState()) found.push(`the flow is ${state}, and should be ${oracle.flowState()}`);
  return found;
}

/** The counts follow the log, and agree with the members in the end. */
export async function countedWrong(flow: MadeFlow): Promise<string[]> {
  const due = new Map<string, number>();
  for (const state of Object.values(await flow.states())) due.set(state, (due.get(state) ?? 0) + 1);
  const expected = JSON.stringify([...due].sort());
  let told = '';
  const agrees = async () => {
    const { executions } = await flow.get();
    told = JSON.stringify(executions.map(({ state, count }) => [ExecutionState[state], Number(count)]).sort());
    return told === expected;
  };
  return await eventually(agrees, 10_000).then(
    () => [],
    () => [`the flow counts ${told}, and its members are ${expected}`],
  );
}
