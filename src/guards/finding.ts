/** One thing that is wrong, or will be: what it is, what it hurts, and what to do. */
export interface Finding {
  /** Stable, such as `max_locks_per_transaction`. */
  readonly name: string;
  /** With an error the engine would be wrong, so a server does not start; a note is for doctor alone. */
  readonly severity: 'error' | 'warning' | 'note';
  /** What is so now. */
  readonly now: string;
  /** What comes of it. */
  readonly hurts: string;
  /** What to do, as a statement or setting where there is one. */
  readonly mend: string;
}

/** In one line. */
export function told({ name, now, hurts, mend }: Finding): string {
  return `${name}: ${now}; ${hurts}. ${mend}`;
}

export function seconds(value: number): string {
  if (value < 120) return `${Math.round(value)} s`;
  if (value < 7_200) return `${Math.round(value / 60)} min`;
  return value < 172_800 ? `${Math.round(value / 3_600)} h` : `${Math.round(value / 86_400)} days`;
}

export function bytes(value: number): string {
  if (value < 2 ** 20) return `${Math.round(value / 1_024)} KiB`;
  return value < 2 ** 30 ? `${Math.round(value / 2 ** 20)} MiB` : `${(value / 2 ** 30).toFixed(1)} GiB`;
}
