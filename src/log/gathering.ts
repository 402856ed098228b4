/**
 * One question for many askers. What is asked while a statement is under way is asked together, when it is back: any
 * number of callers keep one connection busy, and nobody gets an answer that was read before he asked.
 */
export class Gathering<T> {
  readonly #read: (ids: ReadonlySet<string>) => Promise<ReadonlyMap<string, T>>;
  #next: { ids: Set<string>; answer: Promise<ReadonlyMap<string, T>> } | undefined;
  #underWay: Promise<unknown> = Promise.resolve();

  constructor(read: (ids: ReadonlySet<string>) => Promise<ReadonlyMap<string, T>>) {
    this.#read = read;
  }

  /** By id; may hold more than was asked for. */
  async ask(ids: readonly string[]): Promise<ReadonlyMap<string, T>> {
    this.#next ??= this.#gather();
    for (const id of ids) this.#next.ids.add(id);
    return await this.#next.answer;
  }

  #gather() {
    const ids = new Set<string>();
    const answer = this.#underWay.then(async () => {
      this.#next = undefined;
      return await this.#read(ids);
    });
    this.#underWay = answer.catch(() => undefined);
    return { ids, answer };
  }
}
