/**
 * One session that sees the plan of everything it sends, also of what functions send inside: auto_explain reports each
 * statement as it was executed, and the reports come back as notices.
 */
import pg from 'pg';
import type { Row, Runner } from '../../src/repository/database.js';
import { inSchema, render, type Statement } from '../../src/repository/statement.js';
import type { TestDatabase } from './postgres.js';

/** The part of a node of a JSON plan that tests look at. */
interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Index Name'?: string;
  readonly 'Index Cond'?: string;
  readonly 'Actual Rows'?: number;
  readonly 'Actual Loops'?: number;
  readonly 'Rows Removed by Filter'?: number;
  readonly 'Rows Removed by Join Filter'?: number;
  readonly 'Rows Removed by Index Recheck'?: number;
  readonly 'Shared Hit Blocks'?: number;
  readonly 'Shared Read Blocks'?: number;
  readonly Plans?: readonly PlanNode[];
}

export interface Scan {
  /** Partitions under the name of their parent. */
  readonly table: string;
  readonly kind: string;
  readonly index: string | undefined;
  /** Rows looked at: given, and dropped by a filter. */
  readonly rows: number;
}

export interface Explained {
  readonly text: string;
  readonly scans: readonly Scan[];
  /** Rows that passed through, or were dropped at, any node of the plan. */
  readonly work: number;
  /** Pages of tables and indexes looked at, each time it was. */
  readonly pages: number;
}

const SETTINGS = {
  'auto_explain.log_min_duration': '0',
  'auto_explain.log_nested_statements': 'on',
  'auto_explain.log_analyze': 'on',
  'auto_explain.log_timing': 'off',
  'auto_explain.log_buffers': 'on',
  'auto_explain.log_format': 'json',
  'auto_explain.log_level': 'notice',
} as const;

/** It would analyze in the middle, and plan everything anew. Where it is off already, nothing is planned anew by this. */
const WITHOUT_AUTOVACUUM = `do $$ declare t regclass; begin
  for t in select c.oid from pg_class c where c.relnamespace = '{schema}'::regnamespace and c.relkind = 'r'
    and not coalesce('autovacuum_enabled=off' = any (c.reloptions), false)
  loop execute format('alter table %s set (autovacuum_enabled = off)', t); end loop; end $$`;

const INT8 = 20;

export class ExplainedSession implements Runner {
  readonly #client: pg.Client;
  readonly #schema: string;
  #reports: Explained[] = [];

  private constructor(client: pg.Client, schema: string) {
    this.#client = client;
    this.#schema = schema;
    client.on('notice', ({ message = '' }) => {
      const json = /plan:\n(\{[\s\S]*)/.exec(message)?.[1];
      if (json) this.#reports.push(explained(json));
    });
  }

  /** Plans are kept from the first execution of each statement on, as in a process that runs for months. */
  static async open({ url, schema }: TestDatabase): Promise<ExplainedSession> {
    const client = new pg.Client({
      connectionString: url,
      types: {
        getTypeParser: ((oid: number, format?: 'text') =>
          oid === INT8 ? BigInt : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
      },
    });
    await client.connect();
    await client.query("load 'auto_explain'");
    await client.query(inSchema(WITHOUT_AUTOVACUUM, schema));
    return new ExplainedSession(client, schema);
  }

  async query<R extends object = Row>(made: Statement, values: readonly unknown[] = []): Promise<R[]> {
    const config = { name: made.name, text: render(made, this.#schema), values: [...values] };
    return (await this.#client.query<R>(config)).rows;
  }

  /** Outside of what is prepared: settings, statistics, tables. */
  async sql(text: string): Promise<Row[]> {
    return (await this.#client.query<Row>(inSchema(text, this.#schema))).rows;
  }

  /** What `body` sent, innermost first. */
  async explain(body: () => Promise<unknown>): Promise<Explained[]> {
    for (const [name, value] of Object.entries(SETTINGS)) await this.#client.query(`set ${name} = '${value}'`);
    this.#reports = [];
    try {
      await body();
      return this.#reports;
    } finally {
      await this.#client.query("set auto_explain.log_min_duration = '-1'");
    }
  }

  async close(): Promise<void> {
    await this.#client.end();
  }
}

function explained(json: string): Explained {
  const report = JSON.parse(json) as { 'Query Text': string; Plan: PlanNode };
  const { Plan: plan } = report;
  return {
    text: report['Query Text'].trim(),
    scans: nodesOf(plan).flatMap(scanOf),
    work: nodesOf(plan).reduce((sum, node) => sum + workOf(node), 0),
    pages: (plan['Shared Hit Blocks'] ?? 0) + (plan['Shared Read Blocks'] ?? 0),
  };
}

function nodesOf(node: PlanNode): PlanNode[] {
  return [node, ...(node.Plans ?? []).flatMap(nodesOf)];
}

function scanOf(node: PlanNode): Scan[] {
  const kind = node['Node Type'];
  if (!/Scan$/.test(kind) || (node['Relation Name'] === undefined && node['Index Name'] === undefined)) return [];
  const table = (node['Relation Name'] ?? node['Index Name'] ?? '').replace(/_\d+$/, '');
  return [{ table, kind, index: node['Index Name'], rows: workOf(node) }];
}

/** The numbers are averages over the loops. */
function workOf(node: PlanNode): number {
  const each =
    (node['Actual Rows'] ?? 0) +
    (node['Rows Removed by Filter'] ?? 0) +
    (node['Rows Removed by Join Filter'] ?? 0) +
    (node['Rows Removed by Index Recheck'] ?? 0);
  return Math.round(each * (node['Actual Loops'] ?? 0));
}
