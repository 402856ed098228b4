/** What the loops of this process have done and seen, kept to be shown. */
import type { LogStep } from '../repository/log/index.js';
import type { Pulse } from '../repository/sweeping/index.js';
import { monotonicMs } from '../runtime/clock.js';
import { Tally } from '../runtime/tally.js';

export class LoopMeters {
  /** Steps of the sequencer, those that found another process at it, and the entries they numbered. */
  steps = 0;
  busySteps = 0;
  numbered = 0;
  /** Stretches of the log whose writers had not committed, as the last step saw it. */
  openHoles = 0;
  pulses = 0;
  /** The highest position seen. */
  head = 0n;
  /** Due times as the last pulse saw them. */
  dueMs: Pulse['dueMs'] = {};
  /** How far the partitions by time reach ahead; undefined until somebody has looked. */
  partitionsAheadMs: number | undefined;
  /** Executions made by bulk redrives. */
  redriven = 0;
  /** Failures by loop. */
  readonly errors = new Tally();
  /** Since when every pulse has found entries without a position, monotonic. */
  #unnumberedMs: number | undefined;
  #pulsedMs: number | undefined;

  stepped(step: LogStep): void {
    this.steps++;
    if (step.busy) {
      this.busySteps++;
      return;
    }
    this.numbered += step.numbered;
    this.openHoles = step.openHoles;
  }

  /** The log has positions up to here. */
  reached(head: bigint): void {
    if (head > this.head) this.head = head;
  }

  pulsed({ dueMs, unnumbered }: Pulse): void {
    this.pulses++;
    this.#pulsedMs = monotonicMs();
    this.dueMs = dueMs;
    this.#unnumberedMs = unnumbered ? (this.#unnumberedMs ?? this.#pulsedMs) : undefined;
  }

  /** Undefined before the first one. */
  get sincePulseMs(): number | undefined {
    return this.#pulsedMs === undefined ? undefined : monotonicMs() - this.#pulsedMs;
  }

  /** For how long every pulse has found entries without a position; under load that is no lag yet. */
  get unnumberedMs(): number {
    return this.#unnumberedMs === undefined ? 0 : monotonicMs() - this.#unnumberedMs;
  }

  /** Some loops name what they failed at behind a colon. */
  failed(loop: string): void {
    this.errors.add(loop.replace(/:.*/s, ''));
  }
}
