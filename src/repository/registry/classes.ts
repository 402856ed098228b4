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

const readAllNamespaces = statement('registry.namespaces', 'select id, name from {schema}.namespace');

const oneNamespace = statement('registry.namespace', 'select id from {schema}.namespace where name = $1');

const addNamespace = statement(
  'registry.add-namespace',
  'insert into {schema}.namespace (name) values ($1) on conflict do nothing',
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

export interface Namespace {
  readonly id: number;
  readonly name: string;
}

export function readNamespaces(runner: Runner): Promise<Namespace[]> {
  return runner.query<Namespace>(readAllNamespaces);
}

export async function findNamespace(runner: Runner, name: string): Promise<number | undefined> {
  const [row] = await runner.query<{ id: number }>(oneNamespace, [name]);
  return row?.id;
}

export async function ensureNamespace(runner: Runner, name: string): Promise<void> {
  await runner.query(addNamespace, [name]);
}

/** Raised by every new class and every change of a lane. */
export async function readRegistryVersion(runner: Runner): Promise<bigint> {
  const [row] = await runner.query<{ version: bigint }>(readVersion);
  return row?.version ?? 0n;
}
