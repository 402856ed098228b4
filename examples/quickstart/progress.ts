/** Progress on the standard error output: one line redrawn on a terminal, else a line per tenth. */

const BAR = 30;

export class Progress {
  readonly #terminal = process.stderr.isTTY;
  #tenth = -1;
  #drawn = false;

  /** A line that stays. */
  say(line: string): void {
    this.#clear();
    process.stderr.write(`${line}\n`);
  }

  update(done: number, total: number, note: string): void {
    const share = total === 0 ? 1 : done / total;
    const line = `${done}/${total} files  ${note}`;
    if (this.#terminal) {
      const bar = '█'.repeat(Math.round(share * BAR)).padEnd(BAR, '░');
      this.#clear();
      process.stderr.write(`${bar} ${line}`.slice(0, (process.stderr.columns || 80) - 1));
      this.#drawn = true;
    } else if (Math.floor(share * 10) > this.#tenth) {
      this.#tenth = Math.floor(share * 10);
      process.stderr.write(`${line}\n`);
    }
  }

  end(): void {
    this.#clear();
  }

  #clear(): void {
    if (this.#drawn) process.stderr.write('\r\x1b[2K');
    this.#drawn = false;
  }
}
