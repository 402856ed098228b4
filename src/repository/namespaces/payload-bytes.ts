/** How large a payload of a namespace may be. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const read = statement(
  'namespaces.payload-bytes',
  'select least(n.max_payload_bytes, $2::bigint) as most from {schema}.namespace n where n.id = $1::int',
);

/** `mostBytes`: what the server takes. */
export async function readPayloadBytes(runner: Runner, namespace: number, mostBytes: number): Promise<number> {
  const [row] = await runner.query<{ most: bigint }>(read, [namespace, mostBytes]);
  return row === undefined ? mostBytes : Number(row.most);
}
