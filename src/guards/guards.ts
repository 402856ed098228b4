/**
 * The guards of a running server: they look once at its start, beside everything else that starts, and every few minutes
 * from then on. What is wrong is logged when it is first found; what is so now, GetServerInfo tells.
 */
import { StartError } from '../domain/start-error.js';
import type { Runner } from '../repository/database.js';
import { Loop } from '../runtime/loop.js';
import { judge, readFacts } from './examination.js';
import type { Facts, Setup } from './facts.js';
import { type Finding, told } from './finding.js';

const AGAIN_MS = 5 * 60_000;

export interface GuardsOptions {
  readonly url: string;
  readonly runner: Runner;
  readonly setup: Setup;
  readonly onWarning: (finding: Finding) => void;
  readonly onError: (name: string, error: unknown) => void;
}

export class Guards {
  readonly #options: GuardsOptions;
  readonly #loop: Loop;
  #pooler: Facts['pooler'] | undefined;
  #found: readonly Finding[] = [];

  constructor(options: GuardsOptions) {
    this.#options = options;
    let first = true;
    this.#loop = new Loop({
      name: 'guards',
      onError: options.onError,
      body: async () => {
        if (!first) await this.look();
        first = false;
        return AGAIN_MS;
      },
    });
  }

  /** One line each. */
  get warnings(): readonly string[] {
    return this.#found.map(told);
  }

  /**
   * Looks while `starting` runs. Throws a StartError if the engine would be wrong on this database, which weighs more than
   * why it did not start; that the database cannot be looked at is none.
   */
  async begin(starting: () => Promise<void>): Promise<void> {
    const [looked, started] = await Promise.allSettled([this.look(), starting()]);
    if (looked.status === 'rejected') this.#options.onError('guards', looked.reason);
    const found = looked.status === 'fulfilled' ? looked.value : [];
    const errors = found.filter(({ severity }) => severity === 'error');
    if (errors.length > 0) {
      const lines = errors.map((error) => `  ${told(error)}`);
      throw new StartError(`the database cannot be used as it is:\n${lines.join('\n')}`);
    }
    if (started.status === 'rejected') throw started.reason;
    this.#loop.start();
  }

  /** What is so now. */
  async look(): Promise<readonly Finding[]> {
    const { url, runner, setup, onWarning } = this.#options;
    const facts = await readFacts({ runner, setup, pooler: this.#pooler ?? url });
    this.#pooler = facts.pooler;
    const found = judge(facts).filter(({ severity }) => severity !== 'note');
    const known = new Set(this.#found.map(({ name }) => name));
    for (const finding of found) if (!known.has(finding.name)) onWarning(finding);
    this.#found = found;
    return found;
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }
}
