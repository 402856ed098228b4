/** Names of claim classes and namespaces, kept for ever: a number never gets another name. */
import type { Runner } from '../repository/database.js';
import { type ClassNames, readClassNames, readNamespaceNames } from '../repository/log/index.js';

interface Numbered {
  readonly class: number | null;
  readonly namespace: number;
}

export class NameCache {
  readonly #runner: Runner;
  readonly #classes = new Map<number, ClassNames>();
  /** What is about no namespace, such as tokens for all of them, has the number 0. */
  readonly #namespaces = new Map<number, string>([[0, '']]);

  constructor(runner: Runner) {
    this.#runner = runner;
  }

  /** Afterwards the names behind these numbers are known. Sends nothing when they are already. */
  async load(entries: readonly Numbered[]): Promise<void> {
    const classes = unknown(
      this.#classes,
      entries.map((entry) => entry.class),
    );
    const namespaces = unknown(
      this.#namespaces,
      entries.map((entry) => entry.namespace),
    );
    if (classes.length > 0) {
      for (const row of await readClassNames(this.#runner, classes)) this.#classes.set(row.id, row);
    }
    if (namespaces.length > 0) {
      for (const row of await readNamespaceNames(this.#runner, namespaces)) this.#namespaces.set(row.id, row.name);
    }
  }

  classOf(id: number | null): ClassNames | undefined {
    return id === null ? undefined : this.#classes.get(id);
  }

  namespaceOf(id: number): string {
    return this.#namespaces.get(id) ?? '';
  }
}

function unknown(known: ReadonlyMap<number, unknown>, ids: readonly (number | null)[]): number[] {
  return [...new Set(ids)].filter((id) => id !== null && !known.has(id)) as number[];
}
