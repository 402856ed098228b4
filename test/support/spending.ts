/** Budgets, and executions that use of them, one step at a time. Each has a lane and names of its own. */

import type { Budget, BudgetAttachment, BudgetSpec } from '../../gen/tailrace/v1/budget_pb.js';
import { BudgetBreachPolicy } from '../../gen/tailrace/v1/budget_pb.js';
import type { ReleaseUsageResponse, ReportUsageResponse } from '../../gen/tailrace/v1/engine_service_pb.js';
import type { ExecutionSpec } from '../../gen/tailrace/v1/execution_pb.js';
import type { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { type Hold, HoldKind } from '../../gen/tailrace/v1/explain_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { ByHand, type Init, leaseOf, seconds } from './by-hand.js';
import { eventually } from './eventually.js';
import type { Clients } from './tailrace.js';

type Amounts = Readonly<Record<string, bigint>>;
type Limits = Readonly<Record<string, bigint | readonly [hard: bigint, soft: bigint]>>;

export const ofLane = (lane: string): Init<BudgetAttachment> => ({ subject: { case: 'lane', value: lane } });
export const ofFlow = (id: string): Init<BudgetAttachment> => ({ subject: { case: 'flowId', value: id } });
export const ofExecution = (id: string): Init<BudgetAttachment> => ({ subject: { case: 'executionId', value: id } });
export const ofNamespace: Init<BudgetAttachment> = {};

const LONG = { leaseDuration: seconds(600) };
let made = 0;

export class Spending {
  readonly clients: Clients;
  readonly hand: ByHand;
  /** Of its executions, and the name of its budget. */
  readonly lane: string;

  constructor(clients: Clients, lane = `spending ${++made}`) {
    this.clients = clients;
    this.lane = lane;
    this.hand = new ByHand(clients, lane);
  }

  /** The same, seen from another server. */
  at(clients: Clients): Spending {
    return new Spending(clients, this.lane);
  }

  /** A budget over the lane, or over what is named. */
  async put(limits: Limits, more: Init<BudgetSpec> = {}): Promise<Budget> {
    const spec = { name: this.lane, attachments: [ofLane(this.lane)], ...more };
    const { budget } = await this.clients.admin.putBudget({ budget: { ...spec, limits: limitsOf(limits) } });
    if (budget === undefined) throw new Error('an answer without a budget');
    return budget;
  }

  async budget(name = this.lane): Promise<Budget> {
    const { budget } = await this.clients.admin.getBudget({ budget: name });
    if (budget === undefined) throw new Error('an answer without a budget');
    return budget;
  }

  /** By dimension. */
  async used(name = this.lane): Promise<Record<string, bigint>> {
    return Object.fromEntries((await this.budget(name)).uses.map(({ dimension, used }) => [dimension, used]));
  }

  async reset(name = this.lane): Promise<void> {
    await this.clients.admin.resetBudget({ budget: name });
  }

  /** One that runs. */
  async running(spec: Init<ExecutionSpec> = {}): Promise<Claim> {
    return await this.claim(await this.queued(spec));
  }

  async queued(spec: Init<ExecutionSpec> = {}): Promise<string> {
    return await this.hand.createOne({ lane: this.lane, ...spec });
  }

  async claim(execution: string): Promise<Claim> {
    return await this.hand.claimNamed(execution, LONG);
  }

  /** The next of the lane; waits for it. */
  async next(): Promise<Claim> {
    return await this.hand.claimOne({ lanes: [{ lane: this.lane }], ...LONG });
  }

  async report(claim: Claim, usage: Amounts, idempotencyKey = ''): Promise<ReportUsageResponse> {
    return await this.clients.engine.reportUsage({ lease: leaseOf(claim), usage, idempotencyKey });
  }

  async release(executionId: string, usage: Amounts, idempotencyKey = ''): Promise<ReleaseUsageResponse> {
    return await this.clients.engine.releaseUsage({ executionId, usage, idempotencyKey });
  }

  /** What ExplainExecution says of budgets. */
  async holds(executionId: string): Promise<Hold[]> {
    const { holds } = await this.clients.admin.explainExecution({ executionId });
    return holds.filter(({ kind }) => kind === HoldKind.BUDGET);
  }

  async becomes(executionId: string, state: ExecutionState, boundMs?: number): Promise<void> {
    await eventually(async () => (await this.hand.state(executionId)) === state, boundMs);
  }
}

export function limitsOf(limits: Limits): BudgetLimits {
  const entries = Object.entries(limits).map(([dimension, limit]) => {
    const [hardLimit, softLimit] = typeof limit === 'bigint' ? [limit, 0n] : limit;
    return [dimension, { hardLimit, softLimit }] as const;
  });
  return Object.fromEntries(entries);
}

type BudgetLimits = Record<string, { hardLimit: bigint; softLimit: bigint }>;

export const { REFUSE, FAIL, SUSPEND } = {
  REFUSE: BudgetBreachPolicy.REFUSE,
  FAIL: BudgetBreachPolicy.FAIL,
  SUSPEND: BudgetBreachPolicy.SUSPEND,
};
