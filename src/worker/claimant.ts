/** Who claims, and what it can do, as every call that claims says it. */
import { type Duration, durationFromMs } from '@bufbuild/protobuf/wkt';
import type { CompleteOptions, LaneWeight } from './options.js';

export interface Claimant {
  readonly worker: { readonly name: string; readonly instanceId: string };
  readonly lanes: LaneWeight[];
  readonly types: string[];
  readonly capabilities: string[];
  readonly leaseDuration: Duration;
}

export function claimantOf(options: CompleteOptions, instanceId: string, types: readonly string[]): Claimant {
  return {
    worker: { name: options.name, instanceId },
    lanes: [...options.lanes],
    types: [...types],
    capabilities: [...options.capabilities],
    leaseDuration: durationFromMs(options.leaseDurationMs),
  };
}
