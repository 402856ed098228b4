/** Makes or changes a subscription. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const put = statement(
  'subscriptions.put',
  'select verdict, version, due from {schema}.put_subscription($1, $2, $3::jsonb, $4, $5, $6)',
);

/** The numbers are stored. */
export const KeySourceKind = { FLOW: 1, STREAM: 2, TAG: 3, HEADER: 4, PAYLOAD: 5 } as const;

/** Columns of the row; what is absent here is null there, which is the lane's or the engine's default. */
export interface SubscriptionRule {
  readonly event_types: readonly string[];
  readonly type_prefixes: readonly string[];
  readonly streams: readonly string[];
  readonly stream_prefixes: readonly string[];
  /** It matches dead letters that are opened, not events: of these lanes and types. */
  readonly of_letters: boolean;
  readonly letter_lanes: readonly string[];
  readonly letter_types: readonly string[];
  readonly match_flow: string | null;
  readonly match_tags: Readonly<Record<string, string>>;
  readonly match_headers: Readonly<Record<string, string>>;
  readonly payload_matches: readonly { readonly path: readonly string[]; readonly values: readonly string[] }[];
  readonly class: number;
  readonly priority: number;
  readonly delay_ms: number;
  readonly ttl_ms: number | null;
  readonly deadline_ms: number | null;
  readonly timeout_ms: number | null;
  readonly retry_max: number | null;
  readonly retry_initial_ms: number | null;
  readonly retry_factor: number | null;
  readonly retry_cap_ms: number | null;
  readonly reclaims_max: number | null;
  readonly count_lost: boolean | null;
  readonly tags: Readonly<Record<string, string>>;
  readonly optional: boolean;
  readonly key_source: number | null;
  /** Of the tag or header. */
  readonly key_name: string | null;
  /** In the payload. */
  readonly key_path: readonly string[] | null;
  /** The key is an ordering key, else a concurrency key. */
  readonly ordered: boolean;
  readonly dead_head: number | null;
  /** As failure_emissions reads them. */
  readonly failure_events: unknown;
  readonly joins: boolean;
  readonly join_type: string | null;
  readonly join_policy: unknown;
  /** As asked for, in a form in which equal content is equal. */
  readonly spec: unknown;
}

export interface NewSubscription {
  readonly namespace: number;
  readonly name: string;
  readonly rule: SubscriptionRule;
  /** Position after which a new one begins; null: at the head. */
  readonly from: bigint | null;
  /** 0: any. */
  readonly expectedVersion: bigint;
  readonly actor: string;
}

export interface PutSubscriptionAnswer {
  /**
   * same: nothing differed, nothing was written. resumed: it was halted. conflict: `version` is another one than expected.
   * ordering, joining, letters: that cannot be changed.
   */
  readonly verdict: 'put' | 'resumed' | 'same' | 'conflict' | 'ordering' | 'joining' | 'letters';
  readonly version: bigint;
  /** The router has something to do. */
  readonly due: boolean;
}

export async function putSubscription(runner: Runner, asked: NewSubscription): Promise<PutSubscriptionAnswer> {
  const { namespace, name, rule, from, expectedVersion, actor } = asked;
  const values = [namespace, name, JSON.stringify(rule), from, expectedVersion, actor];
  const [answer] = await runner.query<PutSubscriptionAnswer>(put, values);
  if (answer === undefined) throw new Error('put_subscription answered nothing');
  return answer;
}
