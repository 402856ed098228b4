/**
 * Proof 23: a namespace is a hard boundary. Every RPC is tried with another namespace's ids, leases, names, cursors and
 * page tokens: nothing is shown, nothing changes. The RPCs come from the descriptors, so a new one fails until it is here.
 */
import { create, type DescMethod, type Message, ScalarType, toBinary, toJsonString } from '@bufbuild/protobuf';
import { reflect } from '@bufbuild/protobuf/reflect';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { StartPosition } from '../../gen/tailrace/v1/log_pb.js';
import { ByHand, refusal } from '../support/by-hand.js';
import { type Estate, makeEstate } from '../support/estate.js';
import { type Answered, callRaw } from '../support/raw-call.js';
import { METHODS, nameOf, requestsTo } from '../support/sample-requests.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

/** All that a stranger may be told. */
const REFUSALS = [
  'EXECUTION_NOT_FOUND',
  'DEAD_LETTER_NOT_FOUND',
  'LANE_NOT_FOUND',
  'WORKER_NOT_FOUND',
  'FLOW_NOT_FOUND',
  'BUDGET_NOT_FOUND',
  'EVENT_NOT_FOUND',
  'STREAM_NOT_FOUND',
  'SUBSCRIPTION_NOT_FOUND',
  'CONSUMER_NOT_FOUND',
  'REDRIVE_NOT_FOUND',
  'TOKEN_NOT_FOUND',
  'NAMESPACE_NOT_FOUND',
  'INVALID_WAITPOINT_TOKEN',
  'BAD_CURSOR',
  'VERSION_CONFLICT', // of a lane that is not there
];

let tailrace: TestTailrace;
let client: pg.Client;
let victim: Estate;
beforeAll(async () => {
  // Floors, which move by themselves, are of the namespaces too.
  tailrace = await startTailrace({ environment: { TAILRACE_RETENTION: 'forever' } });
  client = new pg.Client({ connectionString: tailrace.database.url });
  await client.connect();
  victim = await makeEstate(tailrace, 'victim');
  await makeEstate(tailrace, 'stranger');
});
afterAll(async () => {
  await client.end();
  await tailrace.stop();
});

describe.each(['stranger', 'nobody'])('proof 23: to namespace %s, another one', (namespace) => {
  test.each(METHODS.map((method) => [nameOf(method), method] as const))('is closed to %s', async (name, method) => {
    if (await isUnbuilt(method)) return;
    const before = await everythingOf(victim);
    for (const [what, message] of trialsOf(name, namespace)) {
      const answer = await callRaw(tailrace.url, method, toBinary(method.input, message));
      expect(disclosed(answer, method), what).toEqual([]);
      const reasons = refusalsIn(answer);
      expect([...REFUSALS, ...(what === BARE ? ['INVALID_FIELD'] : [])], what).toEqual(expect.arrayContaining(reasons));
      if (/cursor|token/.test(what)) {
        expect(reasons, what).toHaveLength(1);
        expect(['BAD_CURSOR', 'EXECUTION_NOT_FOUND']).toContain(reasons[0]);
      }
    }
    expect(await everythingOf(victim)).toEqual(before);
  });
});

test('proof 23: a flow takes its own members and no stranger, also when both come in the same instant', async () => {
  const times = 50;
  const [owner, stranger] = ['victim', 'stranger'].map((name) => new ByHand(tailrace, name, name, name));
  if (owner === undefined || stranger === undefined) throw new Error('two namespaces');
  const flows = await Promise.all(
    Array.from({ length: times }, () => tailrace.engine.createFlow({ namespace: 'victim', flow: { open: true } })),
  );
  const lane = 'rush';
  const races = flows.map(async ({ flowId }, i) => {
    const own = () => owner.createOne({ flowId, lane });
    const foreign = async () => (await refusal(stranger.createOne({ flowId, lane }))).reason;
    // Now one is first in line, and now the other.
    const calls = i % 2 === 0 ? [own(), foreign()] : [foreign(), own()];
    return (await Promise.all(calls))[i % 2 === 0 ? 1 : 0];
  });
  const reasons = await Promise.all(races);
  expect(reasons).toEqual(Array.from({ length: times }, () => 'FLOW_NOT_FOUND'));
  const { executions } = await tailrace.admin.listExecutions({
    namespace: 'victim',
    filter: { lanes: [lane] },
    pageSize: 1_000,
  });
  expect(executions).toHaveLength(times);
});

test('proof 23: a watch shows its own namespace and no other', async () => {
  const asked = { namespace: 'stranger', start: StartPosition.EARLIEST };
  for (const watch of [tailrace.completion.watchCompletions(asked), tailrace.completion.watchLog(asked)]) {
    const entries = [];
    for await (const message of watch) {
      entries.push(...message.entries);
      if (message.entries.some(({ namespace }) => namespace !== 'stranger')) break;
      // The stranger's work was the last to end.
      if (entries.filter((entry) => entry.tags['secret'] === 'secret-stranger').length >= 4) break;
    }
    expect(new Set(entries.map(({ namespace }) => namespace))).toEqual(new Set(['stranger']));
  }
});

/** The sample about the victim, sent by the stranger; once more for each place where a cursor or page token may stand. */
function trialsOf(name: string, namespace: string): [string, Message][] {
  const fresh = () => {
    const sample = requestsTo(victim).get(name);
    if (sample === undefined) throw new Error(`${name} is built: give it a sample in test/support/sample-requests.ts`);
    const { method, message, variants } = sample;
    const [request, ...others] = [message, ...variants].map((one) => reflect(method.input, one));
    if (request === undefined) throw new Error('a sample without a message');
    for (const one of [request, ...others]) one.set(field(method, 'namespace'), namespace);
    return { method, request, others };
  };
  const { method, request: first, others } = fresh();
  const opaque = method.input.fields.filter(({ name: of }) => /(^|_)(cursor|page_token)$/.test(of));
  return [
    ['ids and names', first.message],
    ...others.map(({ message }, i): [string, Message] => [`ids and names, choice ${i + 2}`, message]),
    [BARE, bare(method, namespace)],
    ...opaque.map((of): [string, Message] => {
      const cursor = /Frames$/.test(name) ? victim.frameCursor : victim.cursor;
      const value = of.name === 'page_token' ? victim.pageTokens.get(name) : cursor;
      if (!value) throw new Error(`the estate has nothing for ${name}.${of.name}`);
      const { request } = fresh();
      request.set(of, value);
      return [of.name, request.message];
    }),
  ];
}

const BARE = 'nothing but a namespace';

/** Selects everything, and asks for all there is to show. */
function bare({ input }: DescMethod, namespace: string): Message {
  const request = reflect(input, create(input));
  for (const one of input.fields) {
    if (one.name === 'namespace') request.set(one, namespace);
    else if (one.fieldKind === 'scalar' && one.scalar === ScalarType.BOOL) request.set(one, true);
  }
  return request.message;
}

function field(method: DescMethod, name: string) {
  const found = method.input.fields.find((one) => one.name === name);
  if (found === undefined) throw new Error(`${method.name} has no ${name}`);
  return found;
}

/** What only the victim knows, in an answer. */
function disclosed(answer: Answered, { output, name }: DescMethod): string[] {
  const { queued, scheduled, succeeded, held, letter, flow, secret, suspended, resumed, waitpoint, event } = victim;
  const told = 'message' in answer ? toJsonString(output, answer.message) : '';
  const known = [
    queued,
    scheduled,
    succeeded,
    held.executionId,
    held.leaseId,
    letter.id,
    ...[suspended, resumed.executionId, resumed.leaseId, waitpoint.token],
    ...Object.values(flow),
    ...[event.flow, event.batch, victim.reaction, victim.consumer.ownerId],
    secret,
  ];
  // An item that is refused may name what it was asked for; a rule is answered as it was put, and so is a filter.
  const isAnswered =
    'message' in answer && (refusalsIn(answer).length > 0 || /^(Put(Subscription|Consumer)|StartRedrive)$/.test(name));
  return known.filter((one) => told.includes(one) && !(isAnswered && one !== secret));
}

function refusalsIn(answer: Answered): string[] {
  if ('refusal' in answer) return [answer.refusal.detail?.reason ?? answer.refusal.code];
  const { results = [] } = answer.message as Message & {
    results?: { result: { case?: string; value?: { detail?: { reason: string } } } }[];
  };
  return results.flatMap(({ result }) => (result.case === 'error' ? [result.value?.detail?.reason ?? 'nothing'] : []));
}

async function isUnbuilt(method: DescMethod): Promise<boolean> {
  const probe = await callRaw(tailrace.url, method, toBinary(method.input, create(method.input)));
  return 'refusal' in probe && probe.refusal.detail?.reason === 'UNIMPLEMENTED';
}

/** Every row of a namespace, as one text per table; but for when its workers were last seen. */
async function everythingOf({ namespace }: Estate): Promise<Record<string, string>> {
  const { schema } = tailrace.database;
  const mine = `(select id from ${schema}.namespace where name = '${namespace}')`;
  const executions = `(select id from ${schema}.execution where namespace = ${mine})`;
  const budgets = `(select id from ${schema}.budget where namespace = ${mine})`;
  const within = (tables: readonly string[], condition: string) =>
    tables.map((table) => [table, `select t::text from ${schema}.${table} t where ${condition}`] as const);
  const parts = [
    ...within(
      [
        ...['execution', 'lease', 'attempt', 'outcome', 'request_key', 'dead_letter', 'lane', 'flow', 'barrier'],
        ...['suspension', 'waitpoint', 'waitpoint_secret', 'concurrency_key', 'quota'],
        ...['budget', 'budget_attachment', 'spent'],
        ...['event', 'event_key', 'stream', 'subscription', 'subscription_lead', 'consumer', 'redrive', 'token'],
      ],
      `namespace = ${mine}`,
    ),
    ...within(
      [
        ...['ready', 'scheduled', 'blocked', 'parked', 'flow_live', 'timer'],
        ...['signal', 'execution_usage', 'applied_usage', 'usage_report', 'frame_head', 'frame'],
      ],
      `execution in ${executions}`,
    ),
    ...within(['budget_dimension', 'budget_delta'], `budget in ${budgets}`),
    ...within(
      ['consumer_generation', 'consumer_part', 'consumer_member', 'consumer_release'],
      `consumer in (select id from ${schema}.consumer where namespace = ${mine})`,
    ),
    // What is kept of it may fall due at any moment.
    [
      'namespace',
      `select (to_jsonb(t) - '{floor_at,log_floor_at,log_floor}'::text[])::text from ${schema}.namespace t where t.id = ${mine}`,
    ] as const,
    ...within(['unrouted'], `event in (select id from ${schema}.event where namespace = ${mine})`),
    ...within(['batch_join'], `subscription in (select id from ${schema}.subscription where namespace = ${mine})`),
    ['worker', `select (to_jsonb(t) - 'seen_at')::text from ${schema}.worker t where namespace = ${mine}`] as const,
    ['slot', `select t::text from ${schema}.slot t where downstream in ${executions}`] as const,
    ['log', `select l.seq::text from ${schema}.log l where ${mine} = any (l.namespace)`] as const,
  ];
  const found: Record<string, string> = {};
  for (const [table, rows] of parts) {
    const { rows: told } = await client.query<{ all: string }>(
      `select coalesce(string_agg(row, E'\\n' order by row), '') as all from (${rows}) r (row)`,
    );
    found[table] = told[0]?.all ?? '';
  }
  return found;
}
