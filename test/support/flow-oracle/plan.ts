/** A flow as the oracle and the engine are both told of it: who waits for whom, and how each member will act if it runs. */
import fc from 'fast-check';

/** What a member's worker does with it, should it run: complete it, fail it for good, or fail it as canceled. */
export type Script = 'succeeds' | 'fails' | 'stops';

export interface PlanInput {
  readonly from: string;
  /** Its failure does no harm. In joins over all inputs only. */
  readonly optional: boolean;
  readonly source: string;
}

export interface PlanJoin {
  readonly mode: 'all' | 'any' | 'quorum';
  readonly quorum: number;
  readonly distinctSources: boolean;
  readonly cancelRest: boolean;
  readonly inputs: readonly PlanInput[];
}

export interface PlanMember {
  readonly name: string;
  readonly script: Script;
  /** Its failure does not fail the flow. */
  readonly optional: boolean;
  readonly join: PlanJoin | undefined;
}

export interface Plan {
  /** Every member stands after those it waits for. */
  readonly members: readonly PlanMember[];
  /** A required member's failure cancels the rest. */
  readonly failFast: boolean;
  /** Somebody cancels it once so many members have ended. */
  readonly cancel: { readonly afterEnds: number; readonly scope: 'all' | 'pending' } | undefined;
  /** For the choices of its workers. */
  readonly seed: number;
}

const SOURCES = ['north', 'south', 'west'];

const script = fc.oneof(
  { weight: 8, arbitrary: fc.constant<Script>('succeeds') },
  { weight: 2, arbitrary: fc.constant<Script>('fails') },
  { weight: 1, arbitrary: fc.constant<Script>('stops') },
);

const percent = (share: number) => fc.nat(99).map((drawn) => drawn < share);

const drawn = fc.record({
  script,
  optional: percent(15),
  /** Picks among the members before it; as many inputs as there are picks. */
  picks: fc.array(fc.record({ at: fc.nat(1_000), optional: percent(25), source: fc.nat(SOURCES.length - 1) }), {
    maxLength: 6,
  }),
  mode: fc.constantFrom('all', 'all', 'all', 'any', 'quorum', 'quorum' as const),
  quorum: fc.nat(1_000),
  distinctSources: percent(30),
  cancelRest: percent(35),
});

/** Flows of up to so many members. */
export function plans(maxMembers: number): fc.Arbitrary<Plan> {
  return fc
    .record({
      members: fc.array(drawn, { minLength: 1, maxLength: maxMembers, size: 'max' }),
      failFast: percent(15),
      canceled: percent(15),
      afterEnds: fc.nat(maxMembers - 1),
      scope: fc.constantFrom('all', 'pending' as const),
      seed: fc.nat(2 ** 31 - 1),
    })
    .map(({ members, failFast, canceled, afterEnds, scope, seed }) => ({
      ...{ failFast, seed },
      members: members.map((member, at) => toMember(member, at)),
      cancel: canceled ? { afterEnds: Math.min(afterEnds, members.length - 1), scope } : undefined,
    }));
}

type Drawn = typeof drawn extends fc.Arbitrary<infer T> ? T : never;

function toMember({ picks, script, optional, ...policy }: Drawn, at: number): PlanMember {
  const name = `m${at}`;
  const inputs = new Map<string, PlanInput>();
  for (const pick of at === 0 ? [] : picks) {
    const from = `m${pick.at % at}`;
    const isOptional = pick.optional && policy.mode === 'all';
    inputs.set(from, { from, optional: isOptional, source: SOURCES[pick.source] ?? '' });
  }
  if (inputs.size === 0) return { name, script, optional, join: undefined };
  const distinctSources = policy.distinctSources && policy.mode !== 'all';
  const sources = new Set([...inputs.values()].map(({ source }) => source));
  const most = distinctSources ? sources.size : inputs.size;
  const join: PlanJoin = {
    mode: policy.mode,
    quorum: policy.mode === 'quorum' ? 1 + (policy.quorum % most) : 0,
    distinctSources,
    cancelRest: policy.cancelRest && policy.mode !== 'all',
    inputs: [...inputs.values()],
  };
  return { name, script, optional, join };
}
