/** What happens to one execution that waits for signals, as the oracle and the engine are both told of it. */
import fc from 'fast-check';
import { SignalSource } from '../../gen/tailrace/v1/signal_pb.js';
import type { Distinct, OracleCondition, Selector } from './condition-oracle.js';

/** Waitpoints are picked among those that there are by then. */
interface DrawnSelector {
  readonly name: string;
  readonly at: number;
}

export type DrawnCondition =
  | ({ readonly kind: 'signal' } & DrawnSelector)
  | { readonly kind: 'all'; readonly members: readonly DrawnCondition[] }
  | {
      readonly kind: 'count';
      readonly count: number;
      readonly distinct: Distinct;
      readonly among: readonly DrawnSelector[];
    }
  | { readonly kind: 'never' };

export interface DrawnSignal {
  readonly does: 'signal';
  readonly name: string;
  readonly source: SignalSource;
  readonly sourceId: string;
  readonly payload: string;
  /** Idempotency key. */
  readonly key: string | undefined;
  /** A waitpoint, the execution itself, or a waitpoint that is not there. */
  readonly at: number;
  readonly byToken: boolean;
}

export type PlanStep =
  | DrawnSignal
  | { readonly does: 'waitpoint'; readonly twice: boolean }
  | { readonly does: 'suspend'; readonly condition: DrawnCondition; readonly fresh: number }
  | { readonly does: 'resume' }
  /** The holder gives it back; the next attempt begins anew. */
  | { readonly does: 'give back' };

const NAMES = ['a', 'b', 'c'];
const at = fc.nat(1_000);

const selector = fc.record({ name: fc.constantFrom('', ...NAMES), at });

/** Of a leaf one level is left, of the root as many as the contract permits. */
function conditionOf(levels: number): fc.Arbitrary<DrawnCondition> {
  const leaves = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({ kind: fc.constant('signal' as const), name: fc.constantFrom('', ...NAMES), at }),
    },
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant('count' as const),
        count: fc.integer({ min: 1, max: 4 }),
        distinct: fc.constantFrom<Distinct>('signals', 'waitpoints', 'sources'),
        among: fc.array(selector, { maxLength: 3 }),
      }),
    },
  );
  if (levels === 1) return leaves;
  const members = fc.array(conditionOf(levels - 1), { minLength: 1, maxLength: 3 });
  return fc.oneof(
    { weight: 2, arbitrary: leaves },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('all' as const), members }) },
  );
}

const condition = fc.oneof(
  { weight: 19, arbitrary: conditionOf(4) },
  { weight: 1, arbitrary: fc.constant<DrawnCondition>({ kind: 'never' }) },
);

const signal: fc.Arbitrary<PlanStep> = fc.record({
  does: fc.constant('signal' as const),
  name: fc.constantFrom(...NAMES),
  source: fc.constantFrom(SignalSource.HUMAN, SignalSource.SYSTEM),
  sourceId: fc.constantFrom('ann', 'bob', ''),
  payload: fc.constantFrom('', '', 'said'),
  key: fc.option(fc.constantFrom('k', 'l', 'm'), { freq: 4, nil: undefined }),
  at,
  byToken: fc.boolean(),
});

const step: fc.Arbitrary<PlanStep> = fc.oneof(
  { weight: 14, arbitrary: signal },
  { weight: 2, arbitrary: fc.record({ does: fc.constant('waitpoint' as const), twice: fc.boolean() }) },
  {
    weight: 5,
    arbitrary: fc.record({ does: fc.constant('suspend' as const), condition, fresh: fc.integer({ min: 0, max: 2 }) }),
  },
  { weight: 1, arbitrary: fc.constant<PlanStep>({ does: 'resume' }) },
  { weight: 1, arbitrary: fc.constant<PlanStep>({ does: 'give back' }) },
);

export const PLAN: fc.Arbitrary<PlanStep[]> = fc.array(step, { minLength: 3, maxLength: 40, size: 'max' });

/** Over the waitpoints that are open, so that it is valid. */
export function resolved(drawn: DrawnCondition, open: readonly string[]): OracleCondition {
  switch (drawn.kind) {
    case 'signal':
      return { kind: 'signal', ...selected(drawn, open) };
    case 'all':
      return { kind: 'all', members: drawn.members.map((member) => resolved(member, open)) };
    case 'count': {
      const among = drawn.among.map((one) => selected(one, open));
      if (drawn.distinct !== 'waitpoints') return { ...drawn, among };
      // It must be able to hold: each counts once.
      const named = among.filter(({ waitpoint }) => waitpoint !== '');
      const keys = new Set(named.map(({ waitpoint }) => waitpoint)).size;
      if (keys === 0) return { ...drawn, distinct: 'signals', among };
      return { ...drawn, among: named, count: Math.min(drawn.count, keys) };
    }
    case 'never':
      return drawn;
  }
}

function selected({ name, at }: DrawnSelector, open: readonly string[]): Selector {
  return { name, waitpoint: open[at % (open.length + 2)] ?? '' };
}
