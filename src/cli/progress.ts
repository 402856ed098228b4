/** How far something long has come: on a terminal a bar that is drawn over, elsewhere a line when it has changed. */
import type { Output } from './output.js';

const BAR = 24;
const CLEAR_LINE = '\r\u001b[K';

export class ProgressLine {
  readonly #output: Output;
  #told = '';

  constructor(output: Output) {
    this.#output = output;
  }

  /** `fraction` from 0 to 1; undefined: nobody knows. */
  tell(fraction: number | undefined, text: string): void {
    if (this.#output.drawsNotes) {
      const bar = fraction === undefined ? '' : `${barOf(fraction)} `;
      this.#output.draw(CLEAR_LINE + `${bar}${text}`.slice(0, this.#output.noteWidth - 1));
    } else if (!this.#output.json && text !== this.#told) {
      this.#output.note(text);
    }
    this.#told = text;
  }

  /** Leaves the line to what comes after it. */
  end(): void {
    if (this.#output.drawsNotes && this.#told) this.#output.draw(CLEAR_LINE);
  }
}

export function barOf(fraction: number): string {
  const full = Math.round(Math.min(1, Math.max(0, fraction)) * BAR);
  return `[${'#'.repeat(full)}${'.'.repeat(BAR - full)}] ${String(Math.floor(fraction * 100)).padStart(3)}%`;
}
