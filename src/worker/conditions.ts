/**
 * What a handler can wait for: `allOf(signal('paid'), count(2, { distinct: 'sources', among: [signal('approved')] }))`.
 *
 * Satisfiers are a set, so a signal sent twice under one idempotency key counts once. A tree is at most 4 deep and 8 KiB
 * large; what only stands alone does not compile inside another one.
 */
import { CountDistinct } from '../../gen/tailrace/v1/signal_pb.js';

export interface SignalCondition {
  readonly condition: {
    readonly case: 'signal';
    readonly value: { readonly name: string; readonly waitpointKey: string };
  };
}

export interface AllOfCondition {
  readonly condition: { readonly case: 'allOf'; readonly value: { readonly members: MemberCondition[] } };
}

export interface CountCondition {
  readonly condition: {
    readonly case: 'count';
    readonly value: {
      readonly count: number;
      readonly distinct: CountDistinct;
      readonly among: SignalCondition['condition']['value'][];
    };
  };
}

/** What may be a member of `allOf`. */
export type MemberCondition = SignalCondition | AllOfCondition | CountCondition;

export interface LoneCondition {
  readonly condition: { readonly case: 'operatorOnly' | 'timeoutOnly'; readonly value: Record<string, never> };
}

export type Condition = MemberCondition | LoneCondition;

export interface SignalPlace {
  /** Key of the waitpoint it must land on. Default: any, or addressed to the execution itself. */
  readonly waitpoint?: string;
}

export interface CountRules {
  /** What counts once: every signal (default), every waitpoint, or every source, which is kind and id of the sender. */
  readonly distinct?: 'signals' | 'waitpoints' | 'sources';
  /** Signals that count. Default: any. */
  readonly among?: readonly SignalCondition[];
}

const DISTINCT = {
  signals: CountDistinct.SIGNALS,
  waitpoints: CountDistinct.WAITPOINTS,
  sources: CountDistinct.SOURCES,
} as const;

/** Holds once a signal of this name was received. 1 to 200 bytes. */
export function signal(name: string, place: SignalPlace = {}): SignalCondition {
  return { condition: { case: 'signal', value: { name, waitpointKey: place.waitpoint ?? '' } } };
}

/** Holds once any signal was received. */
export function anySignal(place: SignalPlace = {}): SignalCondition {
  return signal('', place);
}

/** Holds once all of 1 to 64 members hold. */
export function allOf(...members: MemberCondition[]): AllOfCondition {
  return { condition: { case: 'allOf', value: { members } } };
}

/** Holds once `n` distinct satisfiers were received; `n` is at least 1. */
export function count(n: number, { distinct = 'signals', among = [] }: CountRules = {}): CountCondition {
  const counted = among.map(({ condition }) => condition.value);
  return { condition: { case: 'count', value: { count: n, distinct: DISTINCT[distinct], among: counted } } };
}

/** Never holds by itself: an operator, the timeout, a cancellation or the deadline ends it. */
export function operatorOnly(): LoneCondition {
  return { condition: { case: 'operatorOnly', value: {} } };
}

/** Never holds by itself: it needs a `timeoutMs`, and goes on when that has passed. `ctx.sleep()` is made of it. */
export function timeoutOnly(): LoneCondition {
  return { condition: { case: 'timeoutOnly', value: {} } };
}
