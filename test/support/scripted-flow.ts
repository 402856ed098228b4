/**
 * A flow whose row and log entries a test writes itself, each pair in one transaction: for orders of events that the
 * engine brings about only now and then.
 */
import type { Database } from '../../src/repository/database.js';
import { NAMESPACE, uuidV7 } from './log-engine.js';

export interface Said {
  readonly kind: number;
  readonly execution?: string;
  readonly to?: number;
  readonly body?: object;
}

export const FLOW_CREATED = 40;
export const FLOW_SETTLED = 43;
export const FLOW_REOPENED = 44;
export const EXECUTION_SUCCEEDED = 6;

const MAKE = {
  name: 'test.make-flow',
  text: `insert into {schema}.flow (id, namespace, began, created_at, name, tags) values ($1::uuid, $2::int, true, now(), $3::text, $4::jsonb)`,
};

/** An end needs its time, and a settled flow too; a flow that is reopened has neither. */
const BECOME = {
  name: 'test.change-flow',
  text: `update {schema}.flow set state = $2::int,
     sealed_at = case when $2::int in (3, 4, 6) then clock_timestamp() end,
     settled_at = case when $2::int in (2, 3, 4, 6) then clock_timestamp() end,
     ended_at = case when $2::int in (3, 4, 6) then clock_timestamp() end where id = $1::uuid`,
};

const SAY = {
  name: 'test.say',
  text: `select {schema}.append_log(array_fill($1::int, array[n]), $2::smallint[], $3::uuid[], array_fill($4::uuid, array[n]),
     array_fill(null::int, array[n]), array_fill(null::smallint, array[n]), $5::smallint[],
     array_fill(null::int, array[n]), $6::text[]) from (select cardinality($2::smallint[]) as n) counted`,
};

export class ScriptedFlow {
  readonly id = uuidV7();
  readonly #database: Database;
  readonly #nudge: () => void;

  private constructor(database: Database, nudge: () => void) {
    this.#database = database;
    this.#nudge = nudge;
  }

  static async make(database: Database, nudge: () => void, name = 'scripted', tags = {}): Promise<ScriptedFlow> {
    const flow = new ScriptedFlow(database, nudge);
    await database.query(MAKE, [flow.id, NAMESPACE, name, JSON.stringify(tags)]);
    await flow.say({ kind: FLOW_CREATED, body: { name, members: 1 } });
    return flow;
  }

  /** Entries of one transaction, without a change of the flow's row. */
  async say(...said: Said[]): Promise<void> {
    await this.#database.query(SAY, this.#values(said));
    this.#nudge();
  }

  /** Changes the row and says so; `numbered` false keeps the sequencer asleep. */
  async become(state: number, { kind = FLOW_SETTLED, numbered = true } = {}): Promise<void> {
    await this.#database.transaction(async (runner) => {
      await runner.query(BECOME, [this.id, state]);
      await runner.query(SAY, this.#values([{ kind, body: { state } }]));
    });
    if (numbered) this.#nudge();
  }

  #values(said: readonly Said[]): unknown[] {
    return [
      NAMESPACE,
      said.map(({ kind }) => kind),
      said.map(({ execution }) => execution ?? null),
      this.id,
      said.map(({ to }) => to ?? null),
      said.map(({ body }) => (body ? JSON.stringify(body) : null)),
    ];
  }
}
