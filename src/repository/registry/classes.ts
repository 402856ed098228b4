/** Interns claim classes, and reads what a process remembers of classes and lanes. */
import { arrayLiteral } from '../bytes.js';
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const intern = statement(
  'registry.intern-classes',
  'select id, lane from {schema}.intern_classes($1::int[], $2::text[], $3::text[], $4::text[])',
);

const readClasses = statement(
  'registry.classes',
  `select c.id, c.namespace, c.lane, l.name as "laneName", c.type, c.capabilities
   from {schema}.claim_class c join {schema}.lane l on l.id = c.lane where c.id > $1 order by c.id`,
);

const readVersion = statement('registry.version', 'select version from {schema}.registry');

export interface ClassKey {
  readonly namespace: number;
  readonly lane: string;
  readonly type: string;
  /** Sorted and distinct. */
  readonly capabilities: readonly string[];
}

export interface ClaimClass {
  readonly id: number;
  readonly namespace: number;
  readonly lane: number;
  readonly laneName: string;
  readonly type: string;
  readonly capabilities: readonly string[];
}

/** Makes what is missing, lanes included; answers in the order of the keys. */
export function internClasses(runner: Runner, keys: readonly ClassKey[]): Promise<{ id: number; lane: number }[]> {
  return runner.query(intern, [
    keys.map((key) => key.namespace),
    keys.map((key) => key.lane),
    keys.map((key) => key.type),
    keys.map((key) => arrayLiteral(key.capabilities)),
  ]);
}

/** Classes with an id above `after`, in order. Ids are drawn under the registry's lock, so none appears below later. */
export function readClaimClasses(runner: Runner, after: number): Promise<ClaimClass[]> {
  return runner.query<ClaimClass>(readClasses, [after]);
}

/** Raised by every new class and every change of a lane or namespace. */
export async function readRegistryVersion(runner: Runner): Promise<bigint> {
  const [row] = await runner.query<{ version: bigint }>(readVersion);
  return row?.version ?? 0n;
}
