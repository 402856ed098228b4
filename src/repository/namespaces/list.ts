/** Namespaces as they stand, by name. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import { NAMESPACE_COLUMNS, type NamespaceRow } from './namespace-row.js';

const list = statement(
  'namespaces.list',
  `select ${NAMESPACE_COLUMNS} from {schema}.namespace n where n.name > $1::text order by n.name limit $2::int`,
);

const get = statement(
  'namespaces.get',
  `select ${NAMESPACE_COLUMNS} from {schema}.namespace n where n.name = $1::text`,
);

/** `after`: the name that the page before ended with; empty for the first. */
export function listNamespaces(runner: Runner, after: string, limit: number): Promise<NamespaceRow[]> {
  return runner.query<NamespaceRow>(list, [after, limit]);
}

/** Undefined when there is none of this name. */
export async function readNamespace(runner: Runner, name: string): Promise<NamespaceRow | undefined> {
  const [row] = await runner.query<NamespaceRow>(get, [name]);
  return row;
}
