/**
 * What a call that makes or extends a flow says of members, edges and joins: names become execution ids, and everything
 * that is wrong whatever the flow looks like is told at once, by the contract's own paths.
 *
 * Cycles, depth and width are matters of the graph: flow-graph.ts.
 */
import type { FieldViolation } from './errors.js';

/** A member of this call by its local name, or one that was made before by its execution id. */
export type MemberName = { readonly local: string } | { readonly id: string };

export interface DeclaredMember {
  readonly localName: string;
  /** Of the execution to make. */
  readonly id: string;
}

export interface DeclaredEdge {
  readonly upstream: MemberName;
  readonly downstream: MemberName;
  /** Null: the upstream itself. */
  readonly source: string | null;
}

export interface DeclaredJoin {
  readonly downstream: MemberName;
  /** 0 unless it waits for a quorum. */
  readonly quorum: number;
  readonly distinctSources: boolean;
  readonly open: boolean;
  readonly timed: boolean;
}

export interface DeclaredGraph {
  readonly members: readonly DeclaredMember[];
  readonly edges: readonly DeclaredEdge[];
  readonly joins: readonly DeclaredJoin[];
  readonly sealJoins: readonly MemberName[];
  /** The flow takes nothing after this call. */
  readonly sealed: boolean;
}

/** Every list in its order, with execution ids for names. */
export interface ResolvedGraph {
  readonly edges: readonly { readonly upstream: string; readonly downstream: string }[];
  readonly joins: readonly string[];
  readonly sealJoins: readonly string[];
}

type Resolution = { readonly graph: ResolvedGraph } | { readonly violations: readonly FieldViolation[] };

const REPEATED = 'occurs more than once in this call';

export function resolveNames(declared: DeclaredGraph): Resolution {
  const violations: FieldViolation[] = [];
  const refuse = (field: string, description: string) => void violations.push({ field, description });
  const ids = new Map<string, string>();
  const own = new Set<string>();
  declared.members.forEach(({ localName, id }, i) => {
    if (ids.has(localName)) refuse(`members[${i}].local_name`, REPEATED);
    else ids.set(localName, id);
    if (own.has(id)) refuse(`members[${i}].execution.execution_id`, REPEATED);
    own.add(id);
  });
  const idOf = (name: MemberName, field: string): string => {
    if ('id' in name) return name.id;
    const id = ids.get(name.local);
    if (id === undefined) refuse(`${field}.local_name`, 'names no member of this call');
    return id ?? '';
  };

  const seen = new Map<string, number>();
  const edges = declared.edges.map(({ upstream, downstream }, i) => {
    const edge = {
      upstream: idOf(upstream, `edges[${i}].upstream`),
      downstream: idOf(downstream, `edges[${i}].downstream`),
    };
    if (edge.upstream === '' || edge.downstream === '') return edge;
    const key = `${edge.upstream} ${edge.downstream}`;
    const first = seen.get(key);
    if (first === undefined) seen.set(key, i);
    else refuse(`edges[${i}]`, `repeats edges[${first}]`);
    return edge;
  });

  const once = (names: readonly MemberName[], fieldOf: (index: number) => string): string[] => {
    const known = new Set<string>();
    return names.map((name, i) => {
      const id = idOf(name, fieldOf(i));
      if (id !== '' && known.has(id)) refuse(fieldOf(i), REPEATED);
      known.add(id);
      return id;
    });
  };
  const joins = once(
    declared.joins.map(({ downstream }) => downstream),
    (i) => `joins[${i}].downstream`,
  );
  const sealJoins = once(declared.sealJoins, (i) => `seal_joins[${i}]`);
  const slots = slotsOf(declared.edges, edges);
  declared.joins.forEach((join, i) => {
    const downstream = joins[i] ?? '';
    if (downstream === '') return;
    const { field, description } = wrongJoin(join, slots.get(downstream), own.has(downstream), declared.sealed) ?? {};
    if (field !== undefined && description !== undefined) refuse(`joins[${i}].${field}`, description);
  });
  return violations.length > 0 ? { violations } : { graph: { edges, joins, sealJoins } };
}

interface Slots {
  count: number;
  readonly sources: Set<string>;
}

function slotsOf(declared: readonly DeclaredEdge[], resolved: ResolvedGraph['edges']): ReadonlyMap<string, Slots> {
  const slots = new Map<string, Slots>();
  resolved.forEach(({ upstream, downstream }, i) => {
    const known = slots.get(downstream) ?? { count: 0, sources: new Set() };
    known.count++;
    known.sources.add(declared[i]?.source ?? upstream);
    slots.set(downstream, known);
  });
  return slots;
}

/** A member of this call has no slots beside those of this call; one that was made before may. */
function wrongJoin(
  { open, timed, quorum, distinctSources }: DeclaredJoin,
  slots: Slots | undefined,
  isNew: boolean,
  sealed: boolean,
): FieldViolation | undefined {
  if (open && sealed) return { field: 'open', description: 'must be false: this call seals the flow' };
  if (open && !timed) return { field: 'policy.timeout', description: 'is required for a join that is open' };
  if (open) return undefined;
  if (slots === undefined) {
    return { field: 'downstream', description: 'has no edge in this call, and its join is not open' };
  }
  const chances = distinctSources ? slots.sources.size : slots.count;
  if (!isNew || quorum <= chances) return undefined;
  const what = distinctSources ? 'distinct sources' : 'slots';
  return { field: 'policy.quorum', description: `must be at most the number of ${what}, ${chances}; it is ${quorum}` };
}
