/** Claims one named execution; waits for its row when another call has it. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import type { Granted, Holder } from './claim.js';
import { withTraces } from './traces.js';

const claimOne = statement(
  'claims.claim-one',
  `select c.verdict, c.state, c.missing, c.retry_ms, c.budget, current_setting('tailrace.traces', true) as traces, (c.claim).*
   from {schema}.claim_one($1, $2, $3::text[], $4, $5, $6, $7) c`,
);

export type NamedClaim =
  | { readonly verdict: 'claimed'; readonly claim: Granted }
  | { readonly verdict: 'not_found' | 'paused' }
  | { readonly verdict: 'wrong_state'; readonly state: number }
  | { readonly verdict: 'capability'; readonly missing: readonly string[] }
  /** Null: nobody knows when a slot is free. */
  | { readonly verdict: 'quota'; readonly retryMs: number | null }
  | { readonly verdict: 'budget'; readonly budget: string };

type Answer = Granted & {
  readonly verdict: NamedClaim['verdict'];
  readonly state: number;
  readonly missing: string[];
  readonly retry_ms: number | null;
  readonly budget: string;
  readonly traces: string | null;
};

export async function claimExecution(
  runner: Runner,
  execution: string,
  capabilities: readonly string[],
  holder: Holder,
): Promise<NamedClaim> {
  const [row] = await runner.query<Answer>(claimOne, [
    execution,
    holder.namespace,
    capabilities,
    holder.instance,
    holder.name,
    holder.leaseMs,
    holder.beginMs,
  ]);
  if (row === undefined) return { verdict: 'not_found' };
  switch (row.verdict) {
    case 'claimed': {
      const [claim = row] = withTraces([row], row.traces);
      return { verdict: 'claimed', claim };
    }
    case 'wrong_state':
      return { verdict: 'wrong_state', state: row.state };
    case 'capability':
      return { verdict: 'capability', missing: row.missing };
    case 'quota':
      return { verdict: 'quota', retryMs: row.retry_ms };
    case 'budget':
      return { verdict: 'budget', budget: row.budget };
    default:
      return { verdict: row.verdict };
  }
}
