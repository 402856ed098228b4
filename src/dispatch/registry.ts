/**
 * What this process remembers of namespaces, lanes and claim classes, so that a claim or a creation names numbers only.
 *
 * The database raises one version with every new class and every change of a lane, a namespace or a drained worker. The pulse compares
 * it once a second, and whoever changes something here asks for a refresh at once. Being late is harmless: a claim checks
 * its lanes again in its own statement.
 */
import { LaneState } from '../domain/states.js';
import type { Database } from '../repository/database.js';
import {
  type ClaimClass,
  type ClassKey,
  ensureNamespace,
  findNamespace,
  internClasses,
  type LaneDefaults,
  type Namespace,
  readClaimClasses,
  readDrainingWorkers,
  readLanes,
  readNamespaces,
  readRegistryVersion,
} from '../repository/registry/index.js';
import { monotonicMs } from '../runtime/clock.js';

export class Registry {
  readonly #database: Database;
  readonly #namespaces = new Map<string, Namespace>();
  readonly #namespaceNames = new Map<number, string>();
  readonly #classes = new Map<number, ClaimClass>();
  readonly #classIds = new Map<string, number>();
  /** Classes by namespace and lane name. */
  readonly #lines = new Map<string, ClaimClass[]>();
  #lanes = new Map<number, LaneDefaults>();
  /** Why, by namespace and instance. */
  #draining = new Map<string, string>();
  #lastClass = 0;
  #version = -1n;
  #confirmedMs = Number.NEGATIVE_INFINITY;
  #loading: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Raised with every load that changed something; whoever derives from classes compares it. */
  get version(): bigint {
    return this.#version;
  }

  /** When the version was last seen to be the database's, on the monotonic clock. */
  get confirmedMs(): number {
    return this.#confirmedMs;
  }

  /** The database had this version at `readMs`, or later. */
  confirm(version: bigint, readMs: number): void {
    if (version === this.#version) this.#confirmedMs = Math.max(this.#confirmedMs, readMs);
  }

  /** Loads what is new if the database's version is another one than this process knows. */
  async refresh(version?: bigint): Promise<void> {
    if (version !== undefined && version === this.#version) return;
    // A load that has begun may have read too early; whoever comes meanwhile shares the one after it.
    this.#next ??= this.#loading
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined;
        this.#loading = this.#load();
        return this.#loading;
      });
    await this.#next;
  }

  /** Whether this process has met it; of one made elsewhere just now it may not know yet. */
  knows(name: string): boolean {
    return this.#namespaces.has(name);
  }

  /** Undefined: nothing was ever created there. One that this process has not met may be another one's, made just now. */
  async namespace(name: string): Promise<number | undefined> {
    return (await this.#namespaceOf(name))?.id;
  }

  /** Makes the namespace on first use. */
  async namespaceFor(name: string): Promise<number> {
    const known = await this.namespace(name);
    if (known !== undefined) return known;
    await ensureNamespace(this.#database, name);
    const made = await this.namespace(name);
    if (made === undefined) throw new Error(`namespace ${name} was made and is not there`);
    return made;
  }

  /** What it is held to, as this process knows it; undefined where the server's settings alone hold. */
  async payloadBytes(name: string): Promise<number | undefined> {
    const most = (this.#namespaces.get(name) ?? (await this.#namespaceOf(name)))?.maxPayloadBytes;
    return most == null ? undefined : Number(most);
  }

  namespaceName(id: number): string {
    return this.#namespaceNames.get(id) ?? '';
  }

  /** A class this process has met; every class of a row it claimed is. */
  claimClass(id: number): ClaimClass | undefined {
    return this.#classes.get(id);
  }

  classIds(): Iterable<number> {
    return this.#classes.keys();
  }

  namespaceIds(): Iterable<number> {
    return this.#namespaceNames.keys();
  }

  laneIds(): Iterable<number> {
    return this.#lanes.keys();
  }

  lane(id: number): LaneDefaults | undefined {
    return this.#lanes.get(id);
  }

  isLimited(laneId: number): boolean {
    const lane = this.#lanes.get(laneId);
    return lane !== undefined && (lane.limited || lane.namespaceLimited);
  }

  /** The classes whose work counts in a quota. */
  limitedClasses(): number[] {
    return [...this.#classes.values()].filter(({ lane }) => this.isLimited(lane)).map(({ id }) => id);
  }

  /** The classes whose work counts in a quota together with this one's. */
  sharingLimit(classId: number): number[] {
    const line = this.#classes.get(classId);
    const lane = line && this.#lanes.get(line.lane);
    if (!line || !lane || !(lane.limited || lane.namespaceLimited)) return [];
    return [...this.#classes.values()]
      .filter((other) => other.lane === line.lane || (lane.namespaceLimited && other.namespace === line.namespace))
      .map(({ id }) => id);
  }

  isDraining(namespace: number, instance: string): boolean {
    return this.drainReason(namespace, instance) !== undefined;
  }

  /** Undefined while the worker may take work; may be empty. */
  drainReason(namespace: number, instance: string): string | undefined {
    return this.#draining.get(`${namespace}/${instance}`);
  }

  /** Interns what is missing; answers in the order of the keys. */
  async classesFor(keys: readonly ClassKey[]): Promise<ClaimClass[]> {
    const missing = keys.filter((key) => !this.#classIds.has(keyText(key)));
    if (missing.length > 0) {
      await internClasses(this.#database, missing);
      await this.refresh();
    }
    return keys.map((key) => {
      const found = this.#classes.get(this.#classIds.get(keyText(key)) ?? -1);
      if (found === undefined) throw new Error('a class was interned and is not there');
      return found;
    });
  }

  /**
   * Classes a worker can run: of these lanes unless they are paused, of these types (none: every type), requiring a
   * subset of what it offers.
   */
  eligible(
    namespace: number,
    lanes: readonly string[],
    types: ReadonlySet<string>,
    capabilities: ReadonlySet<string>,
  ): ClaimClass[] {
    return lanes.flatMap((lane) =>
      (this.#lines.get(`${namespace}/${lane}`) ?? []).filter(
        (line) =>
          this.#lanes.get(line.lane)?.state !== LaneState.PAUSED &&
          (types.size === 0 || types.has(line.type)) &&
          line.capabilities.every((required) => capabilities.has(required)),
      ),
    );
  }

  /**
   * The version is read first: what changes during the load is loaded again by the next refresh. Classes are read before
   * lanes, so that each class has its lane.
   */
  async #load(): Promise<void> {
    const readMs = monotonicMs();
    const version = await readRegistryVersion(this.#database);
    const classes = await readClaimClasses(this.#database, this.#lastClass);
    const [namespaces, lanes, draining] = await Promise.all([
      readNamespaces(this.#database),
      readLanes(this.#database),
      readDrainingWorkers(this.#database),
    ]);
    for (const namespace of namespaces) this.#rememberNamespace(namespace);
    for (const line of classes) this.#remember(line);
    this.#lanes = new Map(lanes.map((lane) => [lane.id, lane]));
    this.#draining = new Map(draining.map(({ namespace, id, reason }) => [`${namespace}/${id}`, reason]));
    this.#version = version;
    this.confirm(version, readMs);
  }

  async #namespaceOf(name: string): Promise<Namespace | undefined> {
    const known = this.#namespaces.get(name);
    if (known !== undefined) return known;
    const found = await findNamespace(this.#database, name);
    if (found !== undefined) this.#rememberNamespace(found);
    return found;
  }

  #rememberNamespace(namespace: Namespace): void {
    this.#namespaces.set(namespace.name, namespace);
    this.#namespaceNames.set(namespace.id, namespace.name);
  }

  #remember(line: ClaimClass): void {
    this.#classes.set(line.id, line);
    this.#classIds.set(keyText({ ...line, lane: line.laneName }), line.id);
    const key = `${line.namespace}/${line.laneName}`;
    const lines = this.#lines.get(key);
    if (lines) lines.push(line);
    else this.#lines.set(key, [line]);
    this.#lastClass = Math.max(this.#lastClass, line.id);
  }
}

function keyText(key: ClassKey): string {
  return JSON.stringify([key.namespace, key.lane, key.type, key.capabilities]);
}
