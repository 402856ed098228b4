/** What counts use against a budget that many share. */
import type { Ground } from '../arena/arena.js';

export interface Budgets {
  /** One report of one caller, counted for good. */
  report(caller: number): Promise<void>;
  /** Of its server process, where it has one. */
  readonly serverPid?: number;
  stop(): Promise<void>;
}

export interface BudgetsOptions {
  readonly ground: Ground;
  /** Numbered from 0. */
  readonly callers: number;
  /** Where a server process writes its CPU profile when it ends. */
  readonly profileInto?: string | undefined;
}

export interface BudgetContestant {
  readonly name: string;
  start(options: BudgetsOptions): Promise<Budgets>;
}
