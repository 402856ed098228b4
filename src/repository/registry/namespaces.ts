/** Namespaces as a process remembers them: their numbers, and what their requests are held to. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const COLUMNS = 'n.id, n.name, n.max_payload_bytes as "maxPayloadBytes"';

const readAll = statement('registry.namespaces', `select ${COLUMNS} from {schema}.namespace n`);

const readOne = statement('registry.namespace', `select ${COLUMNS} from {schema}.namespace n where n.name = $1`);

const add = statement(
  'registry.add-namespace',
  'insert into {schema}.namespace (name) values ($1) on conflict do nothing',
);

export interface Namespace {
  readonly id: number;
  readonly name: string;
  /** Null: what the server takes. */
  readonly maxPayloadBytes: bigint | null;
}

export function readNamespaces(runner: Runner): Promise<Namespace[]> {
  return runner.query<Namespace>(readAll);
}

export async function findNamespace(runner: Runner, name: string): Promise<Namespace | undefined> {
  const [row] = await runner.query<Namespace>(readOne, [name]);
  return row;
}

export async function ensureNamespace(runner: Runner, name: string): Promise<void> {
  await runner.query(add, [name]);
}
