/**
 * What conditions over signals mean, written a second time and as simply as possible: no clock, no tables, no SQL. A
 * property test holds the engine against it, answer by answer.
 *
 * An attempt uses a signal once; the next attempt begins anew and may use it again. A condition takes the earliest signals that make it hold, and no more; what it leaves waits for
 * a suspension to come. Members of a condition share what they take: it is a set.
 */

export interface OracleSignal {
  readonly name: string;
  /** Kind and identity of its sender. */
  readonly source: string;
  /** Where it landed; undefined: at the execution itself. */
  readonly waitpoint: string | undefined;
}

/** Empty: any. */
export interface Selector {
  readonly name: string;
  readonly waitpoint: string;
}

export type Distinct = 'signals' | 'waitpoints' | 'sources';

export type OracleCondition =
  | ({ readonly kind: 'signal' } & Selector)
  | { readonly kind: 'all'; readonly members: readonly OracleCondition[] }
  | {
      readonly kind: 'count';
      readonly count: number;
      readonly distinct: Distinct;
      /** None: any signal. */
      readonly among: readonly Selector[];
    }
  | { readonly kind: 'never' };

/** What a condition takes of the signals, which stand in order of arrival; undefined: it does not hold. */
export function takes<S extends OracleSignal>(condition: OracleCondition, signals: readonly S[]): Set<S> | undefined {
  switch (condition.kind) {
    case 'signal': {
      const first = signals.find((signal) => fits(condition, signal));
      return first && new Set([first]);
    }
    case 'all': {
      const parts = condition.members.map((member) => takes(member, signals));
      return parts.some((part) => part === undefined) ? undefined : new Set(parts.flatMap((part) => [...(part ?? [])]));
    }
    case 'count': {
      const { count, distinct, among } = condition;
      const firsts = new Map<unknown, S>();
      for (const signal of signals) {
        if (among.length > 0 && !among.some((selector) => fits(selector, signal))) continue;
        const one = { signals: signal, waitpoints: signal.waitpoint, sources: signal.source }[distinct];
        if (one !== undefined && !firsts.has(one) && firsts.size < count) firsts.set(one, signal);
      }
      return firsts.size < count ? undefined : new Set(firsts.values());
    }
    case 'never':
      return undefined;
  }
}

function fits({ name, waitpoint }: Selector, signal: OracleSignal): boolean {
  return (name === '' || name === signal.name) && (waitpoint === '' || waitpoint === signal.waitpoint);
}

/** The waitpoints that a condition names. */
export function namedIn(condition: OracleCondition): Set<string> {
  return new Set(selectorsIn(condition).flatMap(({ waitpoint }) => (waitpoint === '' ? [] : [waitpoint])));
}

function selectorsIn(condition: OracleCondition): readonly Selector[] {
  if (condition.kind === 'signal') return [condition];
  if (condition.kind === 'all') return condition.members.flatMap(selectorsIn);
  return condition.kind === 'count' ? condition.among : [];
}

export interface SentSignal extends OracleSignal {
  readonly key: string | undefined;
  readonly content: string;
}

export type Effect =
  | 'SATISFIED'
  | 'APPENDED'
  | 'BUFFERED'
  | 'DUPLICATE'
  | 'REQUEST_ID_REUSED'
  | 'WAITPOINT_NOT_FOUND'
  | 'WRONG_STATE';

/** One execution that runs, is suspended, or goes on and is not claimed yet. */
export class WaitOracle {
  /** In order of arrival. */
  readonly #received: SentSignal[] = [];
  readonly #used = new Set<SentSignal>();
  readonly #waitpoints = new Map<string, 'pending' | 'active' | 'closed'>();
  /** This attempt follows another, and has not waited yet. */
  #anew = false;
  #waitsFor: OracleCondition | undefined;
  /** What the last suspension took, in order of arrival. */
  taken: readonly SentSignal[] = [];
  /** Suspensions of the attempt so far, also those that held at once. */
  count = 0;

  get suspended(): boolean {
    return this.#waitsFor !== undefined;
  }

  /** Received and used by nothing yet. */
  get kept(): readonly SentSignal[] {
    return this.#received.filter((signal) => !this.#used.has(signal));
  }

  stateOf(waitpoint: string): 'pending' | 'active' | 'closed' | undefined {
    return this.#waitpoints.get(waitpoint);
  }

  /** Before it suspends, or with the suspension. */
  makes(waitpoint: string): void {
    this.#reopen();
    this.#waitpoints.set(waitpoint, 'pending');
  }

  /** Answers whether it is parked; otherwise the condition held at once. */
  suspends(condition: OracleCondition): boolean {
    this.count++;
    this.#reopen();
    for (const key of namedIn(condition)) this.#waitpoints.set(key, 'active');
    this.#waitsFor = condition;
    return !this.#look();
  }

  receives(signal: SentSignal): Effect {
    const { key, content, waitpoint } = signal;
    const earlier = key === undefined ? undefined : this.#received.find((other) => other.key === key);
    if (earlier) return earlier.content === content ? 'DUPLICATE' : 'REQUEST_ID_REUSED';
    if (waitpoint !== undefined) {
      const state = this.stateOf(waitpoint);
      if (state === undefined) return 'WAITPOINT_NOT_FOUND';
      if (state === 'closed') return 'WRONG_STATE';
    }
    this.#received.push(signal);
    if (!this.suspended) return 'BUFFERED';
    return this.#look() ? 'SATISFIED' : 'APPENDED';
  }

  /** By an operator or a timeout: with that word alone, which no other wait finds, also not in an attempt that follows. */
  resumesBy(word: SentSignal): void {
    this.#goOn([word]);
  }

  /** The attempt is given back, and another one follows. */
  beginsAnew(): void {
    this.#anew = true;
    this.count = 0;
    this.taken = [];
  }

  /** With the first wait of an attempt what earlier ones used can be used again, and what closed with their waits is open. */
  #reopen(): void {
    if (!this.#anew) return;
    this.#anew = false;
    this.#used.clear();
    for (const [key, state] of this.#waitpoints) if (state === 'closed') this.#waitpoints.set(key, 'pending');
  }

  #look(): boolean {
    const found = this.#waitsFor && takes(this.#waitsFor, this.kept);
    if (found) this.#goOn(this.#received.filter((signal) => found.has(signal)));
    return found !== undefined;
  }

  #goOn(taken: readonly SentSignal[]): void {
    for (const signal of taken) this.#used.add(signal);
    this.taken = taken;
    this.#waitsFor = undefined;
    for (const [key, state] of this.#waitpoints) if (state === 'active') this.#waitpoints.set(key, 'closed');
  }
}
