/** Checks options given in code; whatever is wrong is thrown in one InvalidOptionsError that names every option. */

export class InvalidOptionsError extends Error {
  override readonly name = 'InvalidOptionsError';

  constructor(
    subject: string,
    readonly problems: readonly string[],
  ) {
    super(`the options of the ${subject} are wrong:\n${problems.map((problem) => `  ${problem}`).join('\n')}`);
  }
}

export class OptionRules {
  readonly #problems: string[] = [];

  rule(holds: boolean, problem: string): void {
    if (!holds) this.#problems.push(problem);
  }

  whole(name: string, value: unknown, least: number, most: number): void {
    const fits = Number.isInteger(value) && Number(value) >= least && Number(value) <= most;
    this.rule(fits, `${name} must be a whole number from ${least} to ${most}; it is ${shown(value)}`);
  }

  /** Text of 1 to `most` bytes. */
  name(name: string, value: unknown, most: number): void {
    const fits = typeof value === 'string' && value !== '' && Buffer.byteLength(value) <= most;
    this.rule(fits, `${name} must be text of 1 to ${most} bytes; it is ${shown(value)}`);
  }

  url(name: string, value: unknown): void {
    const fits = typeof value === 'string' && URL.canParse(value) && /^https?:$/.test(new URL(value).protocol);
    this.rule(fits, `${name} must be an address such as http://127.0.0.1:8233; it is ${shown(value)}`);
  }

  /** Throws if any rule was broken. */
  check(subject: string): void {
    if (this.#problems.length > 0) throw new InvalidOptionsError(subject, this.#problems);
  }
}

function shown(value: unknown): string {
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length <= 80 ? text : `${text.slice(0, 80)}…`;
}
