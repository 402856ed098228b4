/** What a run found: rows of samples, and on what they were measured. Kept is what it found of one measure and profile. */
import { arch, cpus, platform, totalmem } from 'node:os';
import { packageVersion } from '../src/runtime/package-root.js';
import type { Sample } from './measures/measure.js';
import type { Profile } from './profiles.js';
import type { ScaleName } from './scales.js';
import { spread } from './statistics.js';

export interface Row {
  readonly measure: string;
  readonly profile: Profile;
  readonly contestant: string;
  /** One per repeat. */
  readonly samples: Sample[];
}

/** What is kept, replaced and left out as a whole. */
export function partName(measure: string, profile: Profile): string {
  return `${measure}-${profile}`;
}

/** Over the repeats; undefined where it was not measured. */
export function medianOf(row: Row, key: string): number | undefined {
  return spread(row.samples.flatMap((sample) => sample[key] ?? []))?.median;
}

export interface Machine {
  readonly cores: number;
  readonly cpu: string;
  readonly memoryGiB: number;
  readonly system: string;
  readonly node: string;
  readonly postgres: string;
}

export interface Results {
  /** Such as 2026-05-01. */
  readonly date: string;
  readonly version: string;
  /** Absent where it was not known. */
  readonly commit?: string | undefined;
  readonly scale: ScaleName;
  readonly machine: Machine;
  readonly repeats: number;
  readonly rows: readonly Row[];
}

/** Nothing that says whose machine it is. */
export function describeMachine(postgres: string): Machine {
  const [first] = cpus();
  return {
    cores: cpus().length,
    cpu: first?.model.trim() || 'unnamed CPU',
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${platform()} ${arch()}`,
    node: process.version,
    postgres,
  };
}

export interface RunFacts extends Pick<Results, 'commit' | 'scale' | 'repeats'> {
  /** Its version. */
  readonly postgres: string;
}

export class Recorder {
  readonly #rows: Row[] = [];

  add(measure: string, profile: Profile, contestant: string, sample: Sample): void {
    const same = this.#rows.find(
      (row) => row.measure === measure && row.profile === profile && row.contestant === contestant,
    );
    if (same) same.samples.push(sample);
    else this.#rows.push({ measure, profile, contestant, samples: [sample] });
  }

  /** Without measures that failed: what is half measured says nothing. */
  results({ postgres, ...run }: RunFacts, failed: ReadonlySet<string>): Results {
    return {
      date: new Date().toISOString().slice(0, 10),
      version: packageVersion(),
      machine: describeMachine(postgres),
      ...run,
      rows: this.#rows.filter(({ measure, profile }) => !failed.has(partName(measure, profile))),
    };
  }
}
