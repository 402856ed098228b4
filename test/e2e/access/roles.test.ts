/**
 * Every call is tried with every role, and with the token of another namespace. The calls come from the descriptors and the
 * requests are those that the other generated tests send, so that a new call is here by itself.
 */
import { create, type DescMethod, type Message, toBinary } from '@bufbuild/protobuf';
import { reflect } from '@bufbuild/protobuf/reflect';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Role } from '../../../gen/tailrace/v1/namespace_pb.js';
import { accessTo, mayCall } from '../../../src/services/access.js';
import { type Estate, makeEstate } from '../../support/estate.js';
import { type Guarded, type Holder, ROLES, startGuarded } from '../../support/guarded.js';
import { type Answered, callRaw } from '../../support/raw-call.js';
import { METHODS, nameOf, requestsTo } from '../../support/sample-requests.js';
import { storedRows } from '../../support/stored-rows.js';

const ABREAST = 8;
/** Of callers that are refused. */
const REFUSED = ['INVALID_TOKEN', 'ROLE_REQUIRED', 'NAMESPACE_DENIED'];

let tailrace: Guarded;
let client: pg.Client;
let estate: Estate;
let holders: ReadonlyMap<Role, Holder>;
beforeAll(async () => {
  tailrace = await startGuarded();
  client = new pg.Client({ connectionString: tailrace.database.url });
  await client.connect();
  estate = await makeEstate(tailrace, 'estate');
  const { namespace } = estate;
  holders = new Map(
    await Promise.all(ROLES.map(async (role) => [role, await tailrace.as({ namespace, roles: [role] })] as const)),
  );
});
afterAll(async () => {
  await client.end();
  await tailrace.stop();
});

test('a role that a call does not have is refused, and nothing happens', async () => {
  const before = await storedRows(client, tailrace.database);
  const wrong = await tried(false, ({ reason, roles }, { method }) =>
    reason === 'ROLE_REQUIRED' && roles.split(',').includes('admin') ? undefined : `${nameOf(method)}: ${reason}`,
  );
  expect(wrong).toEqual([]);
  expect(await storedRows(client, tailrace.database)).toEqual(before);
});

test('the token of another namespace is refused whatever it asks for, as if nothing were there', async () => {
  await tailrace.admin.putNamespace({ namespace: 'elsewhere' });
  const stranger = await tailrace.as({ namespace: 'elsewhere', roles: [Role.ADMIN] });
  const before = await storedRows(client, tailrace.database);
  const wrong: string[] = [];
  await abreast(METHODS, async (method) => {
    const answers = [];
    for (const namespace of [estate.namespace, 'not there', '*', 'default']) {
      answers.push(
        await callRaw(tailrace.url, method, toBinary(method.input, about(method, namespace)), stranger.headers),
      );
    }
    const refusals = answers.map((answer) => ('refusal' in answer ? answer.refusal : undefined));
    if (refusals.some((refusal) => refusal?.detail?.reason !== 'NAMESPACE_DENIED')) wrong.push(nameOf(method));
    expect(refusals).toEqual(refusals.map(() => refusals[0]));
  });
  expect(wrong).toEqual([]);
  expect(await storedRows(client, tailrace.database)).toEqual(before);
});

test('a token that names no namespace works in its own', async () => {
  const client = holders.get(Role.CLIENT);
  const observer = holders.get(Role.OBSERVER);
  const { results } = (await client?.engine.createExecutions({ executions: [{ type: 'own' }] })) ?? {};
  const made = results?.[0]?.result;
  const executionId = made?.case === 'ok' ? made.value.executionId : '';
  const { execution } = (await observer?.admin.getExecution({ executionId })) ?? {};
  expect(execution).toMatchObject({ namespace: estate.namespace, type: 'own' });
});

test('with a role that it has, a call gets through', async () => {
  const wrong = await tried(true, ({ reason }, { method, role }) =>
    REFUSED.includes(reason) && accessTo(method)?.everywhere !== true
      ? `${nameOf(method)} as ${Role[role]}: ${reason}`
      : undefined,
  );
  expect(wrong).toEqual([]);
});

test('a worker changes executions and flows of others only under a lease', async () => {
  const worker = holders.get(Role.WORKER);
  const { queued, flow } = estate;
  const calls = [
    () => worker?.engine.cancelExecution({ executionId: queued }),
    () => worker?.engine.extendFlow({ flowId: flow.id, members: [{ localName: 'new', execution: { type: 'new' } }] }),
  ];
  for (const call of calls) await expect(call()).rejects.toThrow(/only with a lease/);
});

test('what is about the whole installation is for those who are bound to no namespace', async () => {
  const { namespace } = estate;
  const bound = holders.get(Role.OPERATOR);
  await expect(bound?.admin.getStorage({ namespace })).rejects.toThrow(/permission_denied/);
  const free = await tailrace.as({ namespace: '*', roles: [Role.OPERATOR] });
  const refusal = await free.admin.getStorage({}).then(
    () => '',
    (error: Error) => error.message,
  );
  expect(refusal).not.toMatch(/permission_denied/);
});

interface Trial {
  readonly method: DescMethod;
  readonly role: Role;
}

/** Every call with every role that may make it, or may not. */
async function tried(
  allowed: boolean,
  verdict: (refusal: { reason: string; roles: string }, trial: Trial) => string | undefined,
): Promise<string[]> {
  const trials = METHODS.flatMap((method) =>
    ROLES.filter((role) => {
      const access = accessTo(method);
      return access !== undefined && mayCall(new Set([role]), access, true) === allowed;
    }).map((role): Trial => ({ method, role })),
  );
  expect(trials.length).toBeGreaterThan(METHODS.length);
  const wrong: string[] = [];
  await abreast(trials, async (trial) => {
    const { method, role } = trial;
    const body = toBinary(method.input, about(method, estate.namespace));
    const answer = await callRaw(tailrace.url, method, body, holders.get(role)?.headers);
    const found = verdict(refusalIn(answer), trial);
    if (found !== undefined) wrong.push(found);
  });
  return wrong;
}

function refusalIn(answer: Answered): { reason: string; roles: string } {
  const detail = 'refusal' in answer ? answer.refusal.detail : undefined;
  return { reason: detail?.reason ?? '', roles: detail?.metadata['roles'] ?? '' };
}

/** The sample of the call, in that namespace. */
function about(method: DescMethod, namespace: string): Message {
  const sample = requestsTo(estate).get(nameOf(method));
  const request = reflect(method.input, sample?.message ?? create(method.input));
  const field = method.input.fields.find(({ name }) => name === 'namespace');
  if (field) request.set(field, namespace);
  return request.message;
}

async function abreast<T>(items: readonly T[], body: (item: T) => Promise<void>): Promise<void> {
  const left = [...items];
  const work = async () => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await body(item);
  };
  await Promise.all(Array.from({ length: ABREAST }, work));
}
