/** What a scrape tells: in a form that scrapers take, true, of everything that happened, and at little cost. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { monotonicMs } from '../../src/runtime/clock.js';
import { ByHand, seconds } from '../support/by-hand.js';
import { eventually } from '../support/eventually.js';
import { busyHour, LANE, ODD, URGENCIES } from '../support/metrics/busy-hour.js';
import { labelNames, readExposition, type ScrapedFamily, sampleOf } from '../support/metrics/exposition.js';
import { readExpression } from '../support/metrics/promql.js';
import { alerts, dashboard, documented } from '../support/metrics/shown.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

let tailrace: TestTailrace;
let end: () => Promise<void>;
let families: ReadonlyMap<string, ScrapedFamily>;

/** For so long a snapshot is told again. */
const FRESH_MS = 5_000;
const OWN_PORT = { TAILRACE_METRICS_PORT: '0' };
const url = () => tailrace.running.metricsUrl ?? '';
const scraped = async (from = url()) => readExposition(await (await fetch(from)).text());
const inLane = (more: Record<string, string> = {}) => ({ namespace: 'default', lane: LANE, ...more });
const told = (name: string, labels: Record<string, string> = {}) => sampleOf(families, name, labels);

beforeAll(async () => {
  tailrace = await startTailrace({ environment: OWN_PORT });
  end = await busyHour(tailrace);
  // What happened is folded from the log soon, and then told at the next snapshot.
  await eventually(async () => {
    families = await scraped();
    const isCounted = told('tailrace_executions_ended_total', inLane({ outcome: 'failed' })) === 1;
    return isCounted && told('tailrace_claims_waiting') === 1;
  });
});
afterAll(async () => {
  await end();
  await tailrace.stop();
});

describe('a scrape', () => {
  test('tells how work stands and what became of it', () => {
    expect({
      created: told('tailrace_executions_created_total', inLane()),
      queued: told('tailrace_executions', inLane({ state: 'queued' })),
      scheduled: told('tailrace_executions', inLane({ state: 'scheduled' })),
      succeeded: told('tailrace_executions_ended_total', inLane({ outcome: 'succeeded' })),
      claims: told('tailrace_claim_wait_seconds_count', inLane()),
      runs: told('tailrace_attempt_duration_seconds_count', inLane()),
      initial: told('tailrace_attempts_started_total', inLane({ kind: 'initial' })),
      released: told('tailrace_attempts_ended_total', inLane({ outcome: 'released' })),
      failed: told('tailrace_attempts_ended_total', inLane({ outcome: 'failed' })),
    }).toEqual({
      ...{ created: 13, queued: 6, scheduled: 1, succeeded: 5, claims: 8, runs: 8, initial: 8, released: 1, failed: 2 },
    });
    expect(told('tailrace_oldest_waiting_seconds', inLane())).toBeGreaterThan(0);
    expect(told('tailrace_oldest_waiting_seconds', inLane())).toBeLessThan(120);
    // Older than anything in the other lane, but behind somebody who is younger.
    expect(told('tailrace_oldest_waiting_seconds', { lane: URGENCIES })).toBeGreaterThanOrEqual(
      told('tailrace_oldest_waiting_seconds', inLane()) ?? Number.NaN,
    );
    expect(told('tailrace_executions', { lane: ODD, state: 'queued' })).toBe(1);
  });

  test('tells what wants a person, who follows, and what is refused', () => {
    const reason = 'permanent';
    expect(told('tailrace_dead_letters_open', { namespace: 'default', reason })).toBe(1);
    expect(told('tailrace_budgets_exhausted', { namespace: 'default' })).toBe(1);
    expect(told('tailrace_streams', { follows: 'log' })).toBe(1);
    expect(told('tailrace_claims_waiting')).toBe(1);
    expect(told('tailrace_calls_under_way', { rpc_method: 'tailrace.v1.EngineService/ClaimExecutions' })).toBe(1);
    expect(told('tailrace_refusals_total', { reason: 'INVALID_FIELD' })).toBe(1);
    const consumer = 'far behind';
    expect(told('tailrace_consumer_lag_entries', { consumer })).toBeGreaterThan(30);
    expect(told('tailrace_log_head_position')).toBeGreaterThan(30);
    expect(told('tailrace_consumer_lag_seconds', { consumer })).toBeGreaterThan(0);
    expect(told('tailrace_consumer_parts', { consumer, state: 'owned' })).toBe(1);
    expect(told('tailrace_consumer_holds_log', { consumer })).toBe(1);
  });

  test('tells of calls, statements, batches and parts', () => {
    const call = {
      rpc_system_name: 'connectrpc',
      rpc_method: 'tailrace.v1.EngineService/CompleteExecutions',
      rpc_response_status_code: 'OK',
    };
    expect(told('rpc_server_call_duration_seconds_count', call)).toBe(5);
    expect(told('db_client_operation_duration_seconds_count', { db_query_summary: 'leases.end' })).toBe(8);
    expect(told('tailrace_group_commit_items_sum', { call: 'CreateExecutions' })).toBe(18);
    for (const part of ['database', 'schema', 'sequencer', 'clock', 'partitions', 'server']) {
      expect(told('tailrace_ready', { part }), part).toBe(1);
    }
    expect(Math.abs(told('tailrace_clock_skew_seconds') ?? 99)).toBeLessThan(5);
    expect(told('process_memory_usage_bytes')).toBeGreaterThan(1e7);
  });

  test('moves with the work', async () => {
    const hand = new ByHand(tailrace, 'mover');
    const completed = () => told('tailrace_attempts_ended_total', inLane({ outcome: 'succeeded' })) ?? 0;
    const before = completed();
    await hand.complete(await hand.claimOne({ lanes: [{ lane: LANE }], leaseDuration: seconds(60) }));
    families = await scraped();
    expect(completed()).toBe(before + 1);
  });

  test('costs one statement at most, and none when another one has just been', async () => {
    const snapshots = async () => {
      families = await scraped();
      return told('db_client_operation_duration_seconds_count', { db_query_summary: 'metrics.snapshot' }) ?? 0;
    };
    const begunMs = monotonicMs();
    const before = await snapshots();
    await Promise.all(Array.from({ length: 10 }, () => scraped()));
    const made = (await snapshots()) - before;
    expect(made).toBeLessThanOrEqual(1 + Math.floor((monotonicMs() - begunMs) / FRESH_MS));
  });
});

describe('what is shipped with it', () => {
  /** Nothing of the kind has happened here. */
  const SILENT = [
    'tailrace_loop_errors_total',
    'tailrace_statement_errors_total',
    'tailrace_namespace_floor_age_seconds',
    'tailrace_namespace_log_floor_position',
  ];
  const TARGET = ['instance', 'job'];

  test('the docs say of every series what the scrape says, and no others', () => {
    const table = new Map(documented().map((row) => [row.name, row]));
    expect([...table.keys()].sort()).toEqual([...families.keys()].sort());
    for (const family of families.values()) {
      const row = table.get(family.name);
      expect([family.name, row?.type, row?.meaning]).toEqual([family.name, family.type, family.help]);
      if (family.samples.length > 0) expect([family.name, labelNames(family)]).toEqual([family.name, row?.labels]);
      else expect(SILENT).toContain(family.name);
    }
  });

  const expressions = [
    ...dashboard().panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => [title, expr] as const)),
    ...alerts().map(({ name, expression }) => [name, expression] as const),
  ];

  test.each(expressions)('%s asks for what there is: %s', (_, expression) => {
    const table = new Map(documented().map((row) => [row.name, row]));
    const { selectors, grouped } = readExpression(expression);
    const askable = new Set(TARGET);
    for (const { metric, labels } of selectors) {
      if (metric === 'up') continue;
      const row = table.get(metric) ?? table.get(metric.replace(/_(bucket|sum|count)$/, ''));
      const isHistogram = row !== undefined && row.name !== metric;
      expect(row, metric).toBeDefined();
      expect(isHistogram, metric).toBe(row?.type === 'histogram');
      const known = [...(row?.labels ?? []), ...(metric.endsWith('_bucket') ? ['le'] : []), ...TARGET];
      expect(labels.filter((label) => !known.includes(label))).toEqual([]);
      for (const label of known) askable.add(label);
    }
    expect(grouped.filter((label) => !askable.has(label))).toEqual([]);
  });

  test('the dashboard has a place of its own for every panel, and legends of labels that its queries keep', () => {
    const { panels, templating } = dashboard();
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const places = new Set(panels.map(({ gridPos: { x, y } }) => `${x}/${y}`));
    expect(places.size).toBe(panels.length);
    const variables = templating.list.map(({ name }) => name);
    for (const { title, targets = [] } of panels) {
      for (const { expr, legendFormat } of targets) {
        const kept = readExpression(expr);
        const labels = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label = '']) => label);
        const isGrouped = kept.grouped.length > 0;
        expect(isGrouped ? labels.filter((label) => !kept.grouped.includes(label)) : [], title).toEqual([]);
        for (const [, name = ''] of expr.matchAll(/\$(\w+)/g)) {
          if (!name.startsWith('__')) expect(variables, title).toContain(name);
        }
      }
    }
  });

  test('every alert says what is wrong and what to do', () => {
    const rules = alerts();
    expect(rules.length).toBeGreaterThan(10);
    expect(new Set(rules.map(({ name }) => name)).size).toBe(rules.length);
    for (const { name, severity, summary, action } of rules) {
      expect(['critical', 'warning'], name).toContain(severity);
      expect(summary.length, name).toBeGreaterThan(20);
      expect(action.length, name).toBeGreaterThan(60);
    }
  });
});
