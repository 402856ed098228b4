/** Holds the results against the targets, profile by profile. */
import type { Profile } from './profiles.js';
import { medianOf, type Results, type Row } from './results.js';
import type { Find, Target } from './target.js';
import { TARGETS } from './targets.js';

export interface Verdict {
  readonly measure: string;
  readonly profile: Profile;
  readonly text: string;
  readonly measured: string;
  readonly reached: boolean;
  readonly required: boolean;
}

export function judge({ rows, machine }: Results): Verdict[] {
  const profiles = [...new Set(rows.map((row) => row.profile))];
  const targets = TARGETS.filter(({ cores = 0 }) => machine.cores > cores);
  return targets.flatMap((target) => profiles.flatMap((profile) => verdict(target, profile, rows)));
}

function verdict(target: Target, profile: Profile, rows: readonly Row[]): Verdict[] {
  const mine = rows.filter((row) => row.measure === target.measure && row.profile === profile);
  const find: Find = Object.assign(
    (contestant: string, key: string) => {
      const row = mine.find((one) => one.contestant === contestant);
      return row && medianOf(row, key);
    },
    {
      all: (key: string) => mine.flatMap((row) => medianOf(row, key) ?? []),
      most: (key: string) => {
        const samples = mine.flatMap((row) => row.samples.flatMap((sample) => sample[key] ?? []));
        return samples.length === 0 ? undefined : Math.max(...samples);
      },
    },
  );
  const value = target.value(find);
  if (value === undefined || Number.isNaN(value)) return [];
  const { measure, text, required = false, unit } = target;
  const measured = `${value.toLocaleString('en', { maximumFractionDigits: 2 })} ${unit}`.trim();
  return [{ measure, profile, text, measured, required, reached: target.reached(value) }];
}
