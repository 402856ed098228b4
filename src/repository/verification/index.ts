/** Checks every rule across tables; what `tailrace verify` and the tests ask after everything they did. */
import type { Database } from '../database.js';
import { statement } from '../statement.js';
import { attemptInvariants } from './attempts.js';
import { batchInvariants } from './batches.js';
import { budgetInvariants } from './budgets.js';
import { consumerInvariants } from './consumers.js';
import { eventInvariants } from './events.js';
import { flowInvariants } from './flows.js';
import { frameInvariants } from './frames.js';
import { handlerInvariants } from './handlers.js';
import { type Invariant, SAMPLES } from './invariant.js';
import { joinInvariants } from './joins.js';
import { letterInvariants } from './letters.js';
import { limitInvariants } from './limits.js';
import { logInvariants } from './log.js';
import { logRetentionInvariants } from './log-retention.js';
import { orderInvariants } from './order.js';
import { placeInvariants } from './places.js';
import { redriveInvariants } from './redrives.js';
import { retirementInvariants } from './retirement.js';
import { waitInvariants } from './waits.js';

export const INVARIANTS: readonly Invariant[] = [
  ...placeInvariants,
  ...attemptInvariants,
  ...letterInvariants,
  ...handlerInvariants,
  ...redriveInvariants,
  ...joinInvariants,
  ...batchInvariants,
  ...flowInvariants,
  ...frameInvariants,
  ...waitInvariants,
  ...limitInvariants,
  ...orderInvariants,
  ...budgetInvariants,
  ...eventInvariants,
  ...consumerInvariants,
  ...logInvariants,
  ...logRetentionInvariants,
  ...retirementInvariants,
];

export interface Verified {
  readonly name: string;
  readonly rule: string;
  /** What breaks it: up to ten samples. */
  readonly violations: readonly string[];
  /** There are more of them. */
  readonly more: boolean;
}

/** These queries read whole tables, which the engine's role is kept from. */
const permit = statement(
  'verification.permit',
  `select set_config('enable_seqscan', 'on', true), set_config('plan_cache_mode', 'force_custom_plan', true),
     set_config('statement_timeout', '0', true), set_config('work_mem', '64MB', true)`,
);

/** One result per rule, in their order; each rule is checked in one snapshot of its own. */
export async function verify(database: Database): Promise<Verified[]> {
  const results: Verified[] = [];
  for (const { name, rule, query } of INVARIANTS) {
    const rows = await database.transaction(async (runner) => {
      await runner.query(permit);
      return await runner.query<{ sample: string }>(query);
    });
    const violations = rows.slice(0, SAMPLES).map(({ sample }) => sample);
    results.push({ name, rule, violations, more: rows.length > SAMPLES });
  }
  return results;
}
