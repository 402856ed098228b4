/** What the server logs of calls: enough to find one, under an id that both sides know, and nothing that was said in it. */
import { toJson } from '@bufbuild/protobuf';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Role } from '../../gen/tailrace/v1/namespace_pb.js';
import { leaseOf, only, seconds } from '../support/by-hand.js';
import { makeEstate } from '../support/estate.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';
import { METHODS, nameOf, requestsTo } from '../support/sample-requests.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

const PLANTED = 'planted-and-never-logged';
const TRACE = '5'.repeat(32);

interface Line {
  readonly level: number;
  readonly msg: string;
  readonly [name: string]: unknown;
}

const lines: string[] = [];
let database: TestDatabase;
let tailrace: TestTailrace;
beforeAll(async () => {
  database = await freshDatabase();
  tailrace = await startTailrace({
    database,
    logger: pino({ level: 'trace' }, { write: (line: string) => lines.push(line) }),
  });
});
afterAll(async () => {
  await tailrace.stop();
  await database.drop();
});

function linesOf(requestId: string): Line[] {
  return lines.map((line) => JSON.parse(line) as Line).filter((line) => line['requestId'] === requestId);
}

async function post(call: string, body: object, headers: Record<string, string> = {}): Promise<Response> {
  const asked = {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  };
  return await fetch(`${tailrace.url}/tailrace.v1.${call}`, asked);
}

describe('a call', () => {
  test('is one line: who, about what, how it ended, in which trace, under the id that was asked for', async () => {
    const body = { executions: [{ type: 't', lane: 'logged', input: { text: PLANTED } }] };
    const headers = { 'x-request-id': 'call-1', traceparent: `00-${TRACE}-${'6'.repeat(16)}-01` };
    const answer = await post('EngineService/CreateExecutions', body, headers);
    expect(answer.headers.get('x-request-id')).toBe('call-1');
    const { results } = (await answer.json()) as { results: { ok: { executionId: string } }[] };
    expect(only(linesOf('call-1'))).toMatchObject({
      level: 20,
      msg: 'call',
      procedure: 'tailrace.v1.EngineService/CreateExecutions',
      protocol: 'connect',
      namespace: 'default',
      caller: 'anonymous',
      execution: results[0]?.ok.executionId,
      lane: 'logged',
      trace_id: TRACE,
      span_id: '6'.repeat(16),
      code: 'OK',
      durationMs: expect.any(Number),
    });
    await post(
      'EngineService/ClaimExecutions',
      { worker: { name: 'w' }, lanes: [{ lane: 'logged' }] },
      { 'x-request-id': 'call-2' },
    );
    expect(only(linesOf('call-2'))).toMatchObject({ execution: results[0]?.ok.executionId, attempt: 1, claims: 1 });
    await post('AdminService/GetLane', { lane: 'nowhere' }, { 'x-request-id': 'call-3' });
    expect(only(linesOf('call-3'))).toMatchObject({
      level: 20,
      lane: 'nowhere',
      code: 'NOT_FOUND',
      reason: 'LANE_NOT_FOUND',
    });
  });

  test.each(['', 'two words', 'ünïcode', 'x'.repeat(129)])('is given an id in place of %j', async (given) => {
    const answer = await post(
      'AdminService/GetLane',
      { lane: 'nowhere' },
      { 'x-request-id': encodeURI(given) === given ? given : 'a b' },
    );
    const id = answer.headers.get('x-request-id') ?? '';
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    expect(linesOf(id)).toHaveLength(1);
  });

  test('of somebody with a token is told by name', async () => {
    const asked = { name: 'auditor', namespace: 'default', roles: [Role.OBSERVER] };
    const { secret, token } = await tailrace.admin.createToken(asked);
    const authorization = `Bearer ${secret}`;
    await post('AdminService/ListLanes', {}, { authorization, 'x-request-id': 'call-4' });
    expect(only(linesOf('call-4'))).toMatchObject({ caller: 'auditor', tokenId: token?.tokenId, namespace: 'default' });
    await post('AdminService/ListLanes', {}, { authorization: `Bearer ${PLANTED}`, 'x-request-id': 'call-5' });
    expect(only(linesOf('call-5'))).toMatchObject({ reason: 'INVALID_TOKEN' });
    expect(lines.join('')).not.toContain(secret);
  });
});

test('nothing that callers say or keep secret is ever logged, at any level', async () => {
  const estate = await makeEstate(tailrace, 'logs');
  const samples = requestsTo(estate);
  const asking = METHODS.map(async (method) => {
    const sample = samples.get(nameOf(method));
    if (!sample || method.methodKind !== 'unary') return;
    const answer = await post(nameOf(method), planted(toJson(method.input, sample.message)) as object);
    await answer.arrayBuffer();
  });
  await Promise.all(asking);
  const { claims } = await tailrace.engine.claimExecutions({ worker: { name: 'w' }, wait: seconds(0) });
  for (const claim of claims) {
    await tailrace.engine.failExecutions({ reports: [{ lease: leaseOf(claim), failure: { message: PLANTED } }] });
  }
  const all = lines.join('');
  expect(all.length).toBeGreaterThan(10_000);
  const { password } = new URL(database.url);
  for (const secret of [PLANTED, estate.secret, database.url, `:${password}@`, `"${password}"`])
    expect(all.split('\n').filter((line) => line.includes(secret))).toEqual([]);
});

/** The same request as JSON, with a text that nobody may see wherever a caller writes freely. */
function planted(value: unknown, name = ''): unknown {
  if (typeof value === 'string') return FREE.includes(name) ? PLANTED : value;
  if (Array.isArray(value)) return value.map((item) => planted(item, name));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, planted(item, key)]));
}

const FREE = ['text', 'message', 'reason', 'note', 'description', 'token', 'secret', 'details', 'data'];
