/**
 * Lines that were seen empty a moment ago: a claim that can wait need not look into them again. So fifty idle workers
 * that renew their waits ask the database nothing.
 *
 * What has been seen empty counts until something becomes claimable there, and for a moment only: a look (a claim's, or
 * the pulse's while somebody waits) must have confirmed it since. A wake-up that is lost costs a pulse, as ever.
 */

/** Longer than a pulse, which confirms what is waited for. */
const FRESH_MS = 1_500;

export class EmptyLines {
  /** When the look began that found nothing more, by class. */
  readonly #seen = new Map<number, number>();
  /** When something became claimable last, by class. */
  readonly #filled = new Map<number, number>();
  #filledAny = Number.NEGATIVE_INFINITY;

  /** A look that began then left nothing claimable there. What was filled in meanwhile it may not have seen. */
  saw(classIds: Iterable<number>, begunMs: number): void {
    if (this.#filledAny >= begunMs) return;
    for (const id of classIds) {
      if ((this.#filled.get(id) ?? Number.NEGATIVE_INFINITY) < begunMs) this.#seen.set(id, begunMs);
    }
  }

  /** Something may be claimable in this class. */
  filled(classId: number, nowMs: number): void {
    this.#filled.set(classId, nowMs);
    this.#seen.delete(classId);
  }

  /** Something may be claimable anywhere. */
  filledAny(nowMs: number): void {
    this.#filledAny = nowMs;
    this.#seen.clear();
  }

  /** Whether none of these is worth a look. */
  all(classIds: Iterable<number>, nowMs: number): boolean {
    for (const id of classIds) {
      const seen = this.#seen.get(id);
      if (seen === undefined || nowMs - seen > FRESH_MS) return false;
    }
    return true;
  }
}
