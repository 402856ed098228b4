/** Consumers as they stand after a call, and the refusals that calls share. */
import type { Consumer } from '../../../../gen/tailrace/v1/consumer_pb.js';
import { cursorAt } from '../../../domain/cursor.js';
import { EngineError } from '../../../domain/errors.js';
import {
  type ConsumerRow,
  type PartRow,
  readConsumer,
  readGenerations,
  readParts,
} from '../../../repository/consumers/index.js';
import { consumerNotFound } from '../../completion/consumers/refusals.js';
import { toConsumer } from '../../conversion/consumer.js';
import { namespaceIn } from '../../namespace-in.js';
import type { AdminServiceDeps } from '../deps.js';
import { Lags } from './lags.js';

/** With its parts. */
export async function consumerNow(deps: AdminServiceDeps, namespace: string, name: string): Promise<Consumer> {
  const id = await namespaceIn(deps.registry, namespace);
  const row = await readConsumer(deps.database, id, name);
  if (row === undefined) throw consumerNotFound(name);
  const parts = await readParts(deps.database, row.id);
  const [shown] = await shownConsumers(deps, { id, name: namespace }, [row], parts);
  if (shown === undefined) throw new Error('a consumer was not shown');
  return shown;
}

/** `parts`: of one that is shown with them. */
export async function shownConsumers(
  { database, source, pages }: AdminServiceDeps,
  namespace: { readonly id: number; readonly name: string },
  rows: readonly ConsumerRow[],
  parts: readonly PartRow[] = [],
): Promise<Consumer[]> {
  if (rows.length === 0) return [];
  const ids = rows.map(({ id }) => id);
  const generations = await readGenerations(database, ids);
  // Read last: no position lies beyond it.
  const { head, now, floor, incarnation } = await source.head(namespace.id);
  const lags = new Lags(pages, floor);
  const at = (position: bigint) => cursorAt({ namespace: namespace.id, incarnation }, position);
  const facts = { namespace: namespace.name, head, now, cursorAt: at };
  const shown: Consumer[] = [];
  for (const row of rows) {
    const isLive = ({ generation }: { readonly generation: bigint }) => Number(generation === row.generation);
    const counted = [];
    for (const generation of generations.filter(({ consumer }) => consumer === row.id)) {
      counted.push({ row: generation, lag: await lags.of(namespace.id, row, generation) });
    }
    const liveFirst = counted.toSorted((a, b) => isLive(b.row) - isLive(a.row));
    const inOrder = parts.toSorted((a, b) => isLive(b) - isLive(a));
    shown.push(toConsumer({ row, generations: liveFirst, parts: inOrder, ...facts }));
  }
  return shown;
}

export function versionConflict(name: string, version: bigint): EngineError {
  const text = version === 0n ? `there is no consumer ${name} yet` : `consumer ${name} has version ${version}`;
  return new EngineError('VERSION_CONFLICT', text, { metadata: { consumer: name, current_version: String(version) } });
}
