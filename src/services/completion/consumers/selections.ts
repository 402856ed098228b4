/** What consumers follow, read once per version of each. */
import type { Selection } from '../../../log/selection.js';
import { readConsumerSpec } from '../../../repository/consumers/index.js';
import type { Runner } from '../../../repository/database.js';
import { selectionOf } from '../../consumer-selection.js';

const REMEMBERED = 1_000;

export interface SelectedPart {
  readonly namespace: number;
  readonly consumer: number;
  readonly version: bigint;
  readonly splitKey: number;
  /** Of the generation. */
  readonly partCount: number;
}

export class Selections {
  readonly #runner: Runner;
  readonly #known = new Map<string, { readonly version: bigint; readonly selection: Promise<Selection> }>();

  constructor(runner: Runner) {
    this.#runner = runner;
  }

  /** The same object as long as nothing of the consumer changes. */
  async of(part: SelectedPart): Promise<Selection> {
    const { consumer, version, partCount } = part;
    const key = `${consumer}/${partCount}`;
    const known = this.#known.get(key);
    if (known?.version === version) return await known.selection;
    if (this.#known.size >= REMEMBERED) this.#known.clear();
    const selection = this.#read(part);
    this.#known.set(key, { version, selection });
    selection.catch(() => this.#known.delete(key));
    return await selection;
  }

  /** Of that version or a later one, which the next look finds. */
  async #read({ namespace, consumer, splitKey, partCount }: SelectedPart): Promise<Selection> {
    const spec = await readConsumerSpec(this.#runner, consumer);
    return selectionOf({ namespace, spec: spec ?? {}, splitKey, partCount });
  }
}
