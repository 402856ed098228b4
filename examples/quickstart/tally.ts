/**
 * Counts completions as they arrive, and proves the books: every file created once, ended once, counted once, and
 * counted by the report at the end of the flow too.
 */
import { type CompletionEntry, Content, ExecutionState } from '../../src/client/index.js';
import { monotonicMs } from '../../src/runtime/clock.js';
import type { Analysis } from './analyze-markdown.js';
import { REPORT } from './files-flow.js';
import type { Totals } from './totals.js';

export interface Failed {
  readonly executionId: string;
  readonly message: string;
}

export class Tally {
  /** By execution. */
  readonly analyses = new Map<string, Analysis>();
  readonly failed: Failed[] = [];
  /** Entries of executions that had ended before. */
  twice = 0;
  /** Executions that needed more than one attempt. */
  repeated = 0;
  lastRepeatedMs = 0;
  /** How the report at the end of the flow ended, once it has. */
  report: CompletionEntry | undefined;

  get ended(): number {
    return this.analyses.size + this.failed.length;
  }

  add(entry: CompletionEntry): void {
    const { executionId, outcome } = entry;
    if (entry.type === REPORT) {
      this.report = entry;
      return;
    }
    if (this.analyses.has(executionId) || this.failed.some((failed) => failed.executionId === executionId)) {
      this.twice++;
      return;
    }
    const analysis = new Content(outcome?.result).json<Analysis>();
    if (outcome?.state === ExecutionState.SUCCEEDED && analysis) this.analyses.set(executionId, analysis);
    else this.failed.push({ executionId, message: outcome?.failure?.message ?? 'no result' });
    if ((outcome?.attemptNumber ?? 1) > 1) {
      this.repeated++;
      this.lastRepeatedMs = monotonicMs();
    }
  }

  /** Whatever is wrong with the books; empty if nothing is. */
  problems(files: readonly string[], created: ReadonlySet<string>, totals: Totals): string[] {
    const analyzed = [...this.analyses.values()].map(({ file }) => file);
    const strangers = [...this.analyses.keys(), ...this.failed.map(({ executionId }) => executionId)].filter(
      (executionId) => !created.has(executionId),
    );
    const unequal = (name: string, is: number, expected: number) =>
      is === expected ? [] : [`${name}: ${is} instead of ${expected}`];
    return [
      ...unequal('executions created', created.size, files.length),
      ...unequal('executions ended', this.ended, files.length),
      ...unequal('files in the report', totals.files, this.analyses.size),
      ...unequal('failed files in the report', totals.failed.length, this.failed.length),
      ...unequal('executions ended twice', this.twice, 0),
      ...unequal('executions nobody created', strangers.length, 0),
      ...unequal('files counted', new Set(analyzed).size, files.length - this.failed.length),
      ...unequal('files counted twice', analyzed.length - new Set(analyzed).size, 0),
    ];
  }
}
