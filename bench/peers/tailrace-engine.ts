/** The engine in this process, without a server: for what one statement costs, as the API's calls send it. */
import { randomUUID } from 'node:crypto';
import { EndCall } from '../../src/domain/states.js';
import { Engine } from '../../src/engine.js';
import type { Granted } from '../../src/repository/claims/index.js';
import { createExecutions } from '../../src/repository/executions/index.js';
import { endAttempts } from '../../src/repository/leases/index.js';
import { migrate } from '../../src/repository/migrations/index.js';
import { uuidV7 } from '../../src/runtime/random.js';
import { Readiness } from '../../src/runtime/readiness.js';

const SCHEMA = 'tailrace';
const NAMESPACE = 'default';
const LANE = 'default';
/** As few as let every one of them prepare its statements while the tables are empty. */
const CONNECTIONS = 4;
/** What one call of CreateExecutions may hold; as good for filling a database in any other way. */
const FILL = 1_000;
/** Nothing that was claimed comes back while it is measured. */
const LEASE_MS = 3_600_000;
/** Loops that create, start and complete, so that all cores fill. */
const FINISHERS = 3;
const NO_HASH = Buffer.alloc(0);

/** What stands in line is of a type, and may ask for more than that. */
export interface Standing {
  readonly type: string;
  /** Default none. */
  readonly capabilities?: readonly string[];
  /** Default none. */
  readonly concurrencyKey?: string;
}

export class TailraceEngine {
  readonly #engine: Engine;

  private constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** On an empty database; every connection has claimed once before there is anything to claim. */
  static async start(url: string, types: readonly string[]): Promise<TailraceEngine> {
    await migrate({ url, schema: SCHEMA });
    const engine = new Engine({
      url,
      schema: SCHEMA,
      connections: CONNECTIONS,
      partitionMs: 7 * 86_400_000,
      logPartitionRows: 10_000_000,
      readiness: new Readiness(['database', 'partitions']),
      onError: (name, error) => process.stderr.write(`${name} failed: ${String(error)}\n`),
    });
    await engine.start();
    const made = new TailraceEngine(engine);
    for (const type of types) await made.#classOf({ type });
    await Promise.all(Array.from({ length: CONNECTIONS }, () => made.claim(types[0] ?? '', 1)));
    return made;
  }

  /** Without input: what a line costs does not depend on it. */
  async create(standing: Standing, count: number): Promise<void> {
    const { id, namespace } = await this.#classOf(standing);
    for (let left = count; left > 0; left -= FILL) {
      const items = Array.from({ length: Math.min(left, FILL) }, () => newExecution(namespace, id, standing));
      await createExecutions(this.#engine.database, items);
      this.#engine.after.committed(0);
    }
  }

  /** Answers how many it got. */
  async claim(type: string, limit: number): Promise<number> {
    return (await this.#take(type, limit)).length;
  }

  /** So many that were created, started and completed. */
  async finish(type: string, count: number): Promise<void> {
    let toCreate = count;
    let ended = 0;
    // Each takes what stands in line, also the others'; whoever finds nothing when all were created has no more to do.
    const loop = async () => {
      for (let more = true; more; ) {
        const size = Math.min(toCreate, FILL);
        toCreate -= size;
        await this.create({ type }, size);
        const granted = await this.#take(type, FILL);
        await this.#complete(granted);
        ended += granted.length;
        more = toCreate > 0 || granted.length > 0;
      }
    };
    await Promise.all(Array.from({ length: FINISHERS }, loop));
    if (ended !== count) throw new Error(`${ended} ended of ${count} that were created`);
  }

  async stop(): Promise<void> {
    await this.#engine.stop();
  }

  async #take(type: string, limit: number): Promise<Granted[]> {
    const namespace = await this.#engine.registry.namespaceFor(NAMESPACE);
    const granted = await this.#engine.lines.claim(
      {
        namespace,
        lanes: new Map([[LANE, 1]]),
        types: new Set([type]),
        capabilities: new Set(),
        limit,
        waitMs: 0,
        holder: { namespace, instance: randomUUID(), name: 'bench', leaseMs: LEASE_MS, beginMs: null },
      },
      new AbortController().signal,
    );
    this.#engine.after.committed(granted.length);
    return granted;
  }

  async #complete(granted: readonly Granted[]): Promise<void> {
    const namespace = await this.#engine.registry.namespaceFor(NAMESPACE);
    const items = granted.map(({ execution, lease, token }) => ({
      ...{ namespace, execution, lease, token, hash: NO_HASH },
      ...{ failure: null, message: null, runAt: null, delayMs: null, content: null },
    }));
    const answers = await endAttempts(this.#engine.database, EndCall.COMPLETE, items);
    if (answers.some(({ verdict }) => verdict !== 'done')) throw new Error('a completion was refused');
    this.#engine.after.committed(granted.length);
  }

  async #classOf({ type, capabilities = [] }: Standing) {
    const namespace = await this.#engine.registry.namespaceFor(NAMESPACE);
    const [line] = await this.#engine.registry.classesFor([{ namespace, lane: LANE, type, capabilities }]);
    if (line === undefined) throw new Error(`${type} has no class`);
    return { id: line.id, namespace };
  }
}

function newExecution(
  namespace: number,
  classId: number,
  { concurrencyKey = null }: { readonly concurrencyKey?: string | null },
): Parameters<typeof createExecutions>[1][number] {
  return {
    id: uuidV7(),
    namespace,
    class: classId,
    requestId: null,
    hash: NO_HASH,
    priority: 0,
    runAt: null,
    delayMs: null,
    ttlMs: null,
    deadline: null,
    timeoutMs: null,
    retry: { maxAttempts: null, initialMs: null, factor: null, capMs: null, maxReclaims: null, countLost: null },
    tags: {},
    input: null,
    redrive: null,
    flow: null,
    parent: null,
    concurrencyKey,
  };
}
