/** Names behind the numbers that log entries carry. They never change once given, so a process may keep them. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const classes = statement(
  'log.class-names',
  `select c.id, l.name as lane, c.type from {schema}.claim_class c join {schema}.lane l on l.id = c.lane
   where c.id = any ($1::int[])`,
);

const namespaces = statement(
  'log.namespace-names',
  'select n.id, n.name from {schema}.namespace n where n.id = any ($1::int[])',
);

export interface ClassNames {
  readonly id: number;
  readonly lane: string;
  readonly type: string;
}

export async function readClassNames(runner: Runner, ids: readonly number[]): Promise<ClassNames[]> {
  return await runner.query<ClassNames>(classes, [ids]);
}

export async function readNamespaceNames(
  runner: Runner,
  ids: readonly number[],
): Promise<{ readonly id: number; readonly name: string }[]> {
  return await runner.query(namespaces, [ids]);
}
