/**
 * A generation that is rebuilt becomes the live one once it has caught up: no entry that it follows lies between any of its
 * parts and what the live one has handled. The log says so, and the database, under its locks, that it still holds.
 */
import type { AfterCommit } from '../../../dispatch/after-commit.js';
import type { ConsumerWakes } from '../../../dispatch/consumer-wakes.js';
import { caughtUp, type LagBounds, lagOf } from '../../../log/lag.js';
import type { LogPages } from '../../../log/pages.js';
import {
  type Candidate,
  type ConsumerChange,
  type Promoted,
  promoteConsumer,
  readCandidate,
} from '../../../repository/consumers/index.js';
import type { Runner } from '../../../repository/database.js';
import { monotonicMs } from '../../../runtime/clock.js';
import { selectionOf } from '../../consumer-selection.js';
import { tellChange } from './change.js';

export interface PromotionDeps {
  readonly database: Runner;
  readonly pages: LogPages;
  readonly after: AfterCommit;
  readonly consumerWakes: ConsumerWakes;
}

/** While it was looked, the live one has gone on. */
const LOOKS = 5;
const THOROUGH: LagBounds = { scanned: 5_000_000, ms: 10_000 };
const NOTHING_CHECKED = -1n;
/** How often one is looked at that is busy. */
const BUSY_MS = 1_000;
const REMEMBERED = 1_000;

/** behind: with how many entries it has before it, as far as they were counted. */
export type PromotionAnswer = Promoted & { readonly lag?: number };

export async function promote(
  deps: PromotionDeps,
  change: ConsumerChange,
  generation: bigint,
): Promise<PromotionAnswer> {
  const { database, pages } = deps;
  let answer = await promoteConsumer(database, change, { generation, checked: NOTHING_CHECKED, automatic: false });
  let candidate: Candidate | undefined;
  for (let look = 1; look <= LOOKS && answer.verdict === 'behind'; look++) {
    candidate = await readCandidate(database, change.namespace, change.name, generation);
    if (candidate === undefined || !(await hasCaughtUp(deps, change, candidate, THOROUGH))) break;
    answer = await promoteConsumer(database, change, { generation, checked: candidate.live, automatic: false });
  }
  if (answer.verdict !== 'behind' || candidate === undefined) return answer;
  const { entries } = await lagOf(pages, selection(change, candidate), candidate.parts);
  return { ...answer, lag: entries };
}

/** Generations that are to be promoted by themselves, as their fetches come by. */
export class Promotions {
  readonly #deps: PromotionDeps;
  /** When each was looked at last, by this process's clock. */
  readonly #looked = new Map<string, number>();

  constructor(deps: PromotionDeps) {
    this.#deps = deps;
  }

  /** Looks at one that has found nothing to do, and now and then at one that has. True: it is the live one now. */
  async look(namespaceId: number, consumer: string, generation: bigint, isIdle: boolean): Promise<boolean> {
    const key = `${namespaceId}/${consumer}`;
    const now = monotonicMs();
    if (!isIdle && now - (this.#looked.get(key) ?? 0) < BUSY_MS) return false;
    if (this.#looked.size >= REMEMBERED) this.#looked.clear();
    this.#looked.set(key, now);
    return await promoteIfCaughtUp(this.#deps, namespaceId, consumer, generation);
  }
}

async function promoteIfCaughtUp(
  deps: PromotionDeps,
  namespaceId: number,
  consumer: string,
  generation: bigint,
): Promise<boolean> {
  const reason = 'it has caught up';
  const change = { namespace: namespaceId, name: consumer, expectedVersion: 0n, actor: '', reason };
  const candidate = await readCandidate(deps.database, namespaceId, consumer, generation);
  if (candidate === undefined || !(await hasCaughtUp(deps, change, candidate))) return false;
  const asked = { generation, checked: candidate.live, automatic: true };
  const { verdict } = await promoteConsumer(deps.database, change, asked);
  if (verdict === 'changed') tellChange(deps, namespaceId, consumer);
  return verdict === 'changed';
}

async function hasCaughtUp(
  { pages }: PromotionDeps,
  change: ConsumerChange,
  candidate: Candidate,
  bounds: LagBounds = {},
): Promise<boolean> {
  return (await caughtUp(pages, selection(change, candidate), candidate.parts, candidate.live, bounds)) === true;
}

function selection({ namespace }: ConsumerChange, { spec, splitKey, partCount }: Candidate) {
  return selectionOf({ namespace, spec, splitKey, partCount });
}
