/**
 * Whether this process can do its work, told by its parts (database, schema, sequencer, …).
 *
 * Each part says how it is when that changes; nobody is asked, so a probe costs nothing. A part that has not spoken
 * yet is not ready. What load balancers and health watchers see is made from this.
 */

export interface Part {
  readonly ready: boolean;
  /** For people: what is wrong, or how far behind. Never a secret. */
  readonly note: string;
}

export class Readiness {
  readonly #parts: Map<string, Part>;
  readonly #listeners = new Set<() => void>();

  /** `parts` must all be ready before the whole is. */
  constructor(parts: readonly string[] = []) {
    this.#parts = new Map(parts.map((name) => [name, { ready: false, note: 'starting' }]));
  }

  get ready(): boolean {
    return [...this.#parts.values()].every((part) => part.ready);
  }

  /** Whether these parts are, of which the process may lack some. */
  areReady(parts: readonly string[]): boolean {
    return parts.every((name) => this.#parts.get(name)?.ready ?? true);
  }

  parts(): Readonly<Record<string, Part>> {
    return Object.fromEntries(this.#parts);
  }

  set(name: string, ready: boolean, note = ''): void {
    const before = this.#parts.get(name);
    if (before?.ready === ready && before.note === note) return;
    this.#parts.set(name, { ready, note });
    for (const listener of [...this.#listeners]) listener();
  }

  /** Resolves at the next change of any part, or when the signal aborts. */
  changed(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        this.#listeners.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      this.#listeners.add(done);
      signal.addEventListener('abort', done, { once: true });
    });
  }
}
