/** Holds the results against the targets, profile by profile. */
import type { Profile } from './profiles.js';
import { medianOf, type Results, type Row } from './results.js';
import { type Find, TARGETS, type Target } from './targets.js';

export interface Verdict {
  readonly measure: string;
  readonly profile: Profile;
  readonly text: string;
  readonly measured: string;
  readonly reached: boolean;
  readonly required: boolean;
}

export function judge({ rows }: Results): Verdict[] {
  const profiles = [...new Set(rows.map((row) => row.profile))];
  return TARGETS.flatMap((target) => profiles.flatMap((profile) => verdict(target, profile, rows)));
}

function verdict(target: Target, profile: Profile, rows: readonly Row[]): Verdict[] {
  const mine = rows.filter((row) => row.measure === target.measure && row.profile === profile);
  const find: Find = Object.assign(
    (contestant: string, key: string) => {
      const row = mine.find((one) => one.contestant === contestant);
      return row && medianOf(row, key);
    },
    { all: (key: string) => mine.flatMap((row) => medianOf(row, key) ?? []) },
  );
  const value = target.value(find);
  if (value === undefined || Number.isNaN(value)) return [];
  const { measure, text, required = false, unit } = target;
  const measured = `${value.toLocaleString('en', { maximumFractionDigits: 2 })} ${unit}`;
  return [{ measure, profile, text, measured, required, reached: target.reached(value) }];
}
