/** The scales that can be asked for by name: how much is done, of what, how often, and whether that is worth keeping. */
import type { Profile } from './profiles.js';
import { DEEP, FULL, QUICK, type Scale, SHORT } from './scale.js';

export interface NamedScale {
  readonly about: string;
  readonly scale: Scale;
  /** What is measured unless something else is asked for. Absent: everything. */
  readonly measures?: readonly string[];
  readonly profile: Profile | 'all';
  readonly repeats: number;
  /** Whether its figures mean enough to be kept. */
  readonly lasting: boolean;
}

export const SCALES = {
  quick: {
    about: 'a few minutes that show that everything works; its figures mean little',
    scale: QUICK,
    profile: 'plain',
    repeats: 1,
    lasting: false,
  },
  short: {
    about: 'some five minutes for a glance at P1, P2, P3, P4, P9 and P10, or at what --only names',
    scale: SHORT,
    measures: ['P1', 'P2', 'P3', 'P4', 'P9', 'P10'],
    profile: 'plain',
    repeats: 3,
    lasting: false,
  },
  full: { about: 'the whole load', scale: FULL, profile: 'all', repeats: 3, lasting: true },
  deep: {
    about: 'the whole load, and in P4 ten million that have finished: a quarter of an hour more for each repeat',
    scale: DEEP,
    profile: 'all',
    repeats: 3,
    lasting: true,
  },
} as const satisfies Record<string, NamedScale>;

export type ScaleName = keyof typeof SCALES;

export function namedScale(name: ScaleName): NamedScale {
  return SCALES[name];
}
