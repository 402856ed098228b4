/**
 * Proof 19: whatever is not there, every read answers. The columns come from the catalog: each that may be null is null in
 * some row that the API has made, and every RPC that reads is asked about every row.
 */
import type { DescMethod, Message } from '@bufbuild/protobuf';
import { create, toBinary } from '@bufbuild/protobuf';
import { reflect } from '@bufbuild/protobuf/reflect';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { CancelMode } from '../../gen/tailrace/v1/cancel_pb.js';
import { DeadLetterResolution } from '../../gen/tailrace/v1/dead_letter_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { StartPosition } from '../../gen/tailrace/v1/log_pb.js';
import { type BareConsumers, makeBareConsumers } from '../support/bare-consumers.js';
import { type BareEvents, makeBareEvents } from '../support/bare-events.js';
import { makeBareRedrives } from '../support/bare-redrives.js';
import { makeBareTokens } from '../support/bare-tokens.js';
import { makeBareWaits } from '../support/bare-waits.js';
import { ByHand, leaseOf, seconds } from '../support/by-hand.js';
import { FlowsByHand } from '../support/flows-by-hand.js';
import { callRaw } from '../support/raw-call.js';
import { METHODS, nameOf } from '../support/sample-requests.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

/**
 * What follows a commit is gone in milliseconds; nothing that reads looks at it. Only letters of before there were ordering
 * keys have no place in one.
 */
const NEVER_NULL = new Set([
  'follow_up.reason',
  'follow_up.policy',
  'dead_letter.gate_place',
  // Where retention has come in the log and among keys: null for a moment, or of kinds of entries that are not here.
  'key_walk.ended_at',
  'log_tally.until',
]);

let tailrace: TestTailrace;
let client: pg.Client;
let ids: string[];
let flows: string[];
let budgets: string[];
let events: BareEvents;
let redrives: string[];
let consumers: BareConsumers;
beforeAll(async () => {
  // No namespace has a floor then.
  tailrace = await startTailrace({ environment: { TAILRACE_RETENTION: 'forever' } });
  client = new pg.Client({ connectionString: tailrace.database.url });
  await client.connect();
  ids = await makeBare(tailrace);
  flows = await makeBareFlows(ids);
  budgets = await makeBareWaits(tailrace, ids);
  events = await makeBareEvents(tailrace, ids);
  redrives = await makeBareRedrives(tailrace);
  consumers = await makeBareConsumers(tailrace);
  await makeBareTokens(tailrace);
});
afterAll(async () => {
  await client.end();
  await tailrace.stop();
});

/** Executions that ask for nothing and are told nothing, in every state that is built, and their letters. */
async function makeBare({ engine, deadLetters }: TestTailrace): Promise<string[]> {
  const hand = new ByHand(tailrace);
  const made: string[] = [];
  const bare = async (spec = {}) => {
    const id = await hand.createOne(spec);
    made.push(id);
    return id;
  };
  const run = async (spec = {}) => await hand.claimNamed(await bare(spec), { leaseDuration: seconds(3_600) });
  await bare();
  await bare({ delay: seconds(3_600) });
  await run();
  await engine.completeExecutions({ completions: [{ lease: leaseOf(await run()) }] });
  await engine.failExecutions({
    reports: [{ lease: leaseOf(await run()), failure: { failureClass: FailureClass.PERMANENT } }],
  });
  await engine.failExecutions({ reports: [{ lease: leaseOf(await run()), failure: {} }] });
  await hand.release(await run());
  await hand.cancel(await bare());
  const { lease, ...running } = await run();
  await hand.cancel(running.executionId, { policy: { mode: CancelMode.NOW } });
  const asked = await run();
  await hand.cancel(asked.executionId);
  const late = await run({ attemptTimeout: seconds(0.1), retryPolicy: { maxAttempts: 1 } });
  await hand.end(late.executionId);
  const expired = await bare({ ttl: seconds(0.1) });
  await hand.end(expired);
  expect(lease).toBeDefined();
  const letters = (await deadLetters.listDeadLetters({})).deadLetters;
  const [first, second] = letters.map(({ deadLetterId }) => deadLetterId);
  const redriven = await deadLetters.redriveDeadLetter({ deadLetterId: first ?? '' });
  made.push(redriven.executionId);
  await deadLetters.resolveDeadLetters({
    deadLetters: [{ deadLetterId: second ?? '' }],
    resolution: DeadLetterResolution.IGNORED,
  });
  return made;
}

/** A flow that is open and has a member blocked, one without members, and a parent without flow that waits for its child. */
async function makeBareFlows(made: string[]): Promise<string[]> {
  const hand = new FlowsByHand(tailrace);
  const flow = await hand.flow({ members: { a: {}, b: {} }, links: [['a', 'b']] }, { open: true });
  const empty = await hand.flow({}, { open: true });
  const parent = await hand.createOne({ lane: 'parents' });
  const child = { execution: { type: 'child', lane: 'children' } };
  const { childExecutionIds } = await hand.waitForChildren(await hand.claimNamed(parent), [child]);
  made.push(...flow.ids.values(), parent, ...childExecutionIds);
  return [flow.id, empty.id];
}

test('proof 19: each column that may be null is null somewhere', async () => {
  const { schema } = tailrace.database;
  const columns = await client.query<{ table: string; column: string }>(
    `select c.relname as table, a.attname as column
     from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = $1 and c.relkind in ('r', 'p') and not c.relispartition and a.attnum > 0 and not a.attisdropped
       and not a.attnotnull order by 1, 2`,
    [schema],
  );
  const missing: string[] = [];
  for (const { table, column } of columns.rows) {
    const { rows } = await client.query(`select 1 from ${schema}.${table} where ${column} is null limit 1`);
    if (rows.length === 0 && !NEVER_NULL.has(`${table}.${column}`)) missing.push(`${table}.${column}`);
  }
  expect(columns.rows.length).toBeGreaterThan(50);
  expect(missing).toEqual([]);
});

test('proof 19: every read answers about every execution and letter', async () => {
  const letters = (await tailrace.deadLetters.listDeadLetters({})).deadLetters.map(({ deadLetterId }) => deadLetterId);
  expect(letters.length).toBeGreaterThanOrEqual(3);
  const wrong: string[] = [];
  let asked = 0;
  // Needs a lease.
  const readable = METHODS.filter(({ name }) => name !== 'ListMatchedSignals');
  for (const method of readable.filter(({ name }) => /^(Get|List|Count|Explain|Await|Read)/.test(name))) {
    for (const request of requestsOf(method, letters)) {
      const answer = await callRaw(tailrace.url, method, toBinary(method.input, request));
      const reason = 'refusal' in answer ? answer.refusal.detail?.reason : undefined;
      if (reason === 'UNIMPLEMENTED') break;
      asked++;
      // One that never ran has no attempt to read of.
      const isMissing = reason === 'ATTEMPT_NOT_FOUND' && /Frame/.test(method.name);
      if (reason !== undefined && !isMissing) wrong.push(`${nameOf(method)}: ${reason}`);
    }
  }
  expect(wrong).toEqual([]);
  expect(asked).toBeGreaterThan(5 * ids.length);
});

test('proof 19: the log tells all of it', async () => {
  const { completion } = tailrace;
  const ends = new Set<string>();
  const created = new Set<string>();
  for await (const { entries } of completion.watchLog({ start: StartPosition.EARLIEST })) {
    for (const { executionId } of entries) created.add(executionId);
    if (ids.every((id) => created.has(id))) break;
  }
  const { executions } = await completion.awaitExecutions({ executionIds: ids });
  const terminal = executions
    .filter(({ state }) => state >= ExecutionState.SUCCEEDED)
    .map(({ executionId }) => executionId);
  for await (const { entries } of completion.watchCompletions({ start: StartPosition.EARLIEST })) {
    for (const { executionId } of entries) ends.add(executionId);
    if (terminal.every((id) => ends.has(id))) break;
  }
  expect(terminal.length).toBeGreaterThan(5);
});

/** Lists that need a subject. */
const OF_SOMETHING = ['ListAttempts', 'ListFlowMembers', 'ListEdges', 'ListJoins'];

/** One about everything, or one per execution, letter or flow that it names; with and without what it may include. */
function requestsOf({ input, name }: DescMethod, letters: readonly string[]): Message[] {
  const about = (change: (request: ReturnType<typeof reflect>) => void) =>
    [false, true].map((include) => {
      const request = reflect(input, create(input));
      change(request);
      const at = input.fields.find(({ name: of }) => of === 'cursor' && name === 'AwaitConsumer');
      if (at) request.set(at, consumers.cursor);
      for (const field of input.fields) if (/^include_/.test(field.name)) request.set(field, include);
      return request.message;
    });
  const naming = (field: string, values: readonly string[]) => {
    const named = input.fields.find((one) => one.name === field);
    if (named === undefined) return undefined;
    return values.flatMap((value) => about((request) => request.set(named, value)));
  };
  const list = input.fields.find(({ fieldKind, name: of }) => fieldKind === 'list' && of === 'execution_ids');
  if (list?.fieldKind === 'list') {
    return about((request) => {
      const to = request.get(list);
      for (const id of ids) to.add(id);
    });
  }
  const mustName = !/^List|^Count/.test(name) || OF_SOMETHING.includes(name);
  const subjects = [
    ...[naming('execution_id', ids), naming('dead_letter_id', letters), naming('flow_id', flows)],
    naming('budget', budgets),
    naming('redrive_id', redrives),
    ...[naming('event_id', events.events), naming('stream', events.streams)],
    naming('subscription', events.subscriptions),
    naming('consumer', consumers.names),
  ];
  const named = subjects.flatMap((requests) => requests ?? []);
  if (mustName && named.length > 0) return named;
  return naming('lane', mustName ? ['default'] : ['']) ?? about(() => undefined);
}
