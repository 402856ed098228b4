/**
 * What may happen in a flow, written a second time and as simply as possible: no tables, no time, one member after the
 * other. It is told what was observed, in the order of the log, and objects to what could not follow.
 *
 * Where ends race it does not guess who wins: `possibleEnds` has every end that some order leads to, and what was
 * observed up to then narrows it.
 */
import type { Plan, PlanJoin, PlanMember } from './plan.js';

/** How a member ends: by its worker in one of three ways, or without it. */
export type End = 'succeeded' | 'failed' | 'stopped' | 'skipped' | 'lost' | 'canceled';

export type Verdict = 'satisfied' | 'impossible';

export type Observation =
  | { readonly what: 'started'; readonly member: string }
  /** Its attempt ended and it went back in line. */
  | { readonly what: 'went back'; readonly member: string }
  | { readonly what: 'decided'; readonly member: string; readonly verdict: Verdict }
  | { readonly what: 'ended'; readonly member: string; readonly end: End }
  | { readonly what: 'canceled' };

const BY_SCRIPT = { succeeds: 'succeeded', fails: 'failed', stops: 'stopped' } as const;

export class Oracle {
  readonly #plan: Plan;
  readonly #members: ReadonlyMap<string, PlanMember>;
  readonly #started = new Set<string>();
  readonly #running = new Set<string>();
  readonly #ends = new Map<string, End>();
  readonly #verdicts = new Map<string, Verdict>();
  /** Running when the flow was canceled, and ever since. */
  #runningThen: Set<string> | undefined;

  constructor(plan: Plan) {
    this.#plan = plan;
    this.#members = new Map(plan.members.map((member) => [member.name, member]));
  }

  get ends(): ReadonlyMap<string, End> {
    return this.#ends;
  }

  get verdicts(): ReadonlyMap<string, Verdict> {
    return this.#verdicts;
  }

  /** What is wrong with this happening now; undefined if nothing is. */
  observe(observation: Observation): string | undefined {
    if (observation.what === 'canceled') {
      this.#runningThen = new Set(this.#running);
      return undefined;
    }
    const { member } = observation;
    const known = this.#members.get(member);
    if (!known) return `${member} is no member`;
    if (this.#ends.has(member))
      return `${member} had ended ${this.#ends.get(member)}, and then it ${tell(observation)}`;
    if (observation.what === 'started') return this.#start(known);
    if (observation.what === 'decided') return this.#decide(known, observation.verdict);
    this.#running.delete(member);
    if (observation.what === 'went back') {
      this.#runningThen?.delete(member);
      return undefined;
    }
    return this.#end(known, observation.end);
  }

  /** What is missing or too much once the flow has settled. */
  unfinished(): string[] {
    const possible = possibleEnds(this.#plan);
    return this.#plan.members.flatMap(({ name, join }) => {
      const end = this.#ends.get(name);
      if (end === undefined) return [`${name} has not ended`];
      if (!possible.get(name)?.has(end)) return [`${name} ${end}, and can only be ${[...(possible.get(name) ?? [])]}`];
      if (join && !this.#verdicts.has(name) && end !== 'canceled' && end !== 'lost') {
        return [`${name} ${end}, and its join never decided`];
      }
      return [];
    });
  }

  flowState(): 'SUCCEEDED' | 'FAILED' | 'CANCELED' {
    if (this.#runningThen) return 'CANCELED';
    return this.#hasFailed() ? 'FAILED' : 'SUCCEEDED';
  }

  #start({ name, join }: PlanMember): string | undefined {
    this.#started.add(name);
    this.#running.add(name);
    return join && this.#verdicts.get(name) !== 'satisfied' ? `${name} ran before its join was satisfied` : undefined;
  }

  #decide({ name, join }: PlanMember, verdict: Verdict): string | undefined {
    if (!join) return `${name} has no join, and it decided`;
    if (this.#verdicts.has(name)) return `the join of ${name} decided twice`;
    this.#verdicts.set(name, verdict);
    const due = verdictOf(join, (upstream) => this.#ends.get(upstream));
    return due === verdict ? undefined : `the join of ${name} is ${verdict}, and its slots say ${due ?? 'nothing yet'}`;
  }

  #end(member: PlanMember, end: End): string | undefined {
    const objection = this.#objection(member, end);
    this.#ends.set(member.name, end);
    return objection;
  }

  #objection({ name, script, join }: PlanMember, end: End): string | undefined {
    switch (end) {
      case 'skipped':
        return join && this.#verdicts.get(name) === 'impossible'
          ? undefined
          : `${name} was skipped, and nothing made it impossible`;
      case 'lost':
        return this.#isLoser(name) ? undefined : `${name} lost to a join that had not been satisfied without it`;
      case 'canceled':
        return this.#mayBeCanceled(name) ? undefined : `${name} was canceled with the flow, which had no reason to`;
      default:
        if (!this.#started.has(name)) return `${name} ${end} and never ran`;
        return end === BY_SCRIPT[script] ? undefined : `${name} ${end}, and its worker's script is: ${script}`;
    }
  }

  #isLoser(name: string): boolean {
    return this.#plan.members.some(
      ({ name: downstream, join }) =>
        join?.cancelRest &&
        join.inputs.some(({ from }) => from === name) &&
        this.#verdicts.get(downstream) === 'satisfied',
    );
  }

  #mayBeCanceled(name: string): boolean {
    if (this.#plan.failFast && this.#hasFailed()) return true;
    if (!this.#runningThen) return false;
    return this.#plan.cancel?.scope !== 'pending' || !this.#runningThen.has(name);
  }

  /** A required member did not succeed; one that lost does not count. */
  #hasFailed(): boolean {
    return [...this.#ends].some(
      ([name, end]) => end !== 'succeeded' && end !== 'lost' && !this.#members.get(name)?.optional,
    );
  }
}

/** What a join decides by the ends there are; undefined while it is open. */
export function verdictOf(join: PlanJoin, endOf: (upstream: string) => End | undefined): Verdict | undefined {
  const { inputs, mode } = join;
  const ends = inputs.map((input) => ({ ...input, end: endOf(input.from) }));
  if (mode === 'all') {
    if (ends.some(({ end, optional }) => end !== undefined && end !== 'succeeded' && !optional)) return 'impossible';
    return ends.every(({ end }) => end !== undefined) ? 'satisfied' : undefined;
  }
  const needed = mode === 'any' ? 1 : join.quorum;
  const count = (slots: typeof ends) =>
    join.distinctSources ? new Set(slots.map(({ source }) => source)).size : slots.length;
  if (count(ends.filter(({ end }) => end === 'succeeded')) >= needed) return 'satisfied';
  const chances = count(ends.filter(({ end }) => end === undefined || end === 'succeeded'));
  return chances < needed ? 'impossible' : undefined;
}

/** Every end that some order of events leads to. One for each member where nothing races. */
export function possibleEnds(plan: Plan): ReadonlyMap<string, ReadonlySet<End>> {
  const mayLose = new Set(
    plan.members.flatMap(({ join }) => (join?.cancelRest ? join.inputs.map(({ from }) => from) : [])),
  );
  const possible = new Map<string, Set<End>>();
  for (const { name, script, join } of plan.members) {
    const ends = new Set<End>();
    const verdicts = join ? possibleVerdicts(join, possible) : new Set(['satisfied']);
    if (verdicts.has('satisfied')) ends.add(BY_SCRIPT[script]);
    if (verdicts.has('impossible')) ends.add('skipped');
    if (mayLose.has(name)) ends.add('lost');
    if (plan.cancel || plan.failFast) ends.add('canceled');
    possible.set(name, ends);
  }
  return possible;
}

/** With the best end of every input, and with the worst. */
function possibleVerdicts(join: PlanJoin, possible: ReadonlyMap<string, ReadonlySet<End>>): Set<string> {
  const isOk = (end: End) => end === 'succeeded';
  const best = (from: string) => [...(possible.get(from) ?? [])].sort((a, b) => Number(isOk(b)) - Number(isOk(a)))[0];
  const worst = (from: string) => [...(possible.get(from) ?? [])].sort((a, b) => Number(isOk(a)) - Number(isOk(b)))[0];
  return new Set([verdictOf(join, best), verdictOf(join, worst)].filter((verdict) => verdict !== undefined));
}

function tell(observation: Exclude<Observation, { what: 'canceled' }>): string {
  if (observation.what === 'decided') return `was ${observation.verdict}`;
  return observation.what === 'ended' ? `ended ${observation.end}` : observation.what;
}
