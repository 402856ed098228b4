/** The pages that were read last, so that a watcher a little behind the tail need not read them again. */
import type { Page } from './source.js';

export interface RingBounds {
  readonly entries: number;
  readonly bytes: number;
}

export class Ring {
  readonly #bounds: RingBounds;
  #pages: { readonly page: Page; readonly bytes: number }[] = [];
  #entries = 0;
  #bytes = 0;

  constructor(bounds: RingBounds) {
    this.#bounds = bounds;
  }

  /** Pages must follow each other without a gap. */
  push(page: Page): void {
    const bytes = page.reduce((sum, record) => sum + record.bytes, 0);
    this.#pages.push({ page, bytes });
    this.#entries += page.length;
    this.#bytes += bytes;
    while (this.#entries > this.#bounds.entries || this.#bytes > this.#bounds.bytes) {
      const oldest = this.#pages.shift();
      if (!oldest) break;
      this.#entries -= oldest.page.length;
      this.#bytes -= oldest.bytes;
    }
  }

  /** The kept page that holds this position; it may begin before it. */
  find(position: bigint): Page | undefined {
    return this.#pages.find(({ page }) => holds(page, position))?.page;
  }

  clear(): void {
    this.#pages = [];
    this.#entries = 0;
    this.#bytes = 0;
  }
}

function holds(page: Page, position: bigint): boolean {
  return position >= page[0].entry.position && position < page[0].entry.position + BigInt(page.length);
}
