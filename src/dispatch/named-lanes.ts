/**
 * Which lanes and namespaces are told apart in metrics: the first ones, by age, up to a bound; the others are added up.
 *
 * By age, because then a name once told is told for ever, and every process tells the same ones.
 */
import type { Registry } from './registry.js';

/** Of what is not told apart. */
export const OTHER = 'other';

export interface LaneLabels {
  readonly namespace: string;
  readonly lane: string;
}

const MOST = 100;

const OTHERS: LaneLabels = { namespace: OTHER, lane: OTHER };

export class NamedLanes {
  readonly #registry: Registry;
  readonly #most: number;
  #version = -2n;
  #lastLane = Number.POSITIVE_INFINITY;
  #lastNamespace = Number.POSITIVE_INFINITY;

  constructor(registry: Registry, most = MOST) {
    this.#registry = registry;
    this.#most = most;
  }

  /** The lane itself, or 0 for all that are not told apart. */
  named(lane: number): number {
    this.#look();
    return lane <= this.#lastLane ? lane : 0;
  }

  /** The youngest lane that is told apart, for statements that add up the others. */
  get last(): number {
    this.#look();
    return Math.min(this.#lastLane, 2 ** 31 - 1);
  }

  labels(lane: number): LaneLabels {
    const found = this.named(lane) === 0 ? undefined : this.#registry.lane(lane);
    return found === undefined ? OTHERS : { namespace: this.namespace(found.namespace), lane: found.name };
  }

  namespace(id: number): string {
    this.#look();
    return (id <= this.#lastNamespace && this.#registry.namespaceName(id)) || OTHER;
  }

  #look(): void {
    if (this.#version === this.#registry.version) return;
    this.#version = this.#registry.version;
    this.#lastLane = lastOf(this.#registry.laneIds(), this.#most);
    this.#lastNamespace = lastOf(this.#registry.namespaceIds(), this.#most);
  }
}

function lastOf(ids: Iterable<number>, most: number): number {
  const sorted = [...ids].sort((a, b) => a - b);
  return sorted.length <= most ? Number.POSITIVE_INFINITY : (sorted[most - 1] ?? 0);
}
