/** What a namespace is set to: made, changed, told in the log, and held to by every server. */
import { clone, type DescMethod, isMessage, type Message, toBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ItemError } from '../../gen/tailrace/v1/error_pb.js';
import { FrameSpecSchema } from '../../gen/tailrace/v1/frame_pb.js';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { type Payload, PayloadSchema } from '../../gen/tailrace/v1/payload_pb.js';
import { verify } from '../../src/repository/verification/index.js';
import { ByHand, leaseOf, refusal, seconds, text } from '../support/by-hand.js';
import { type Estate, makeEstate } from '../support/estate.js';
import { eventually } from '../support/eventually.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';
import { callRaw } from '../support/raw-call.js';
import { METHODS, nameOf, requestsTo } from '../support/sample-requests.js';
import { SqlClients, sqlRefusal } from '../support/sql-clients.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

const DAY = 86_400;

let database: TestDatabase;
let tailrace: TestTailrace;
let other: TestTailrace;
beforeAll(async () => {
  database = await freshDatabase();
  tailrace = await startTailrace({ database, environment: { TAILRACE_DEAD_LETTER_DAYS: '20' } });
  other = await startTailrace({ database });
});
afterAll(async () => {
  await Promise.all([tailrace.stop(), other.stop()]);
  await database.drop();
});

const put = async (namespace: string, more: object = {}) => {
  const { namespace: now } = await tailrace.admin.putNamespace({ namespace, ...more });
  if (now === undefined) throw new Error('an answer without a namespace');
  return now;
};
const updates = async (namespace: string) => {
  const filter = { kinds: [LogEntryKind.ADMIN_NAMESPACE_UPDATED] };
  return (await tailrace.admin.listLogEntries({ namespace, filter, oldestFirst: true })).entries;
};

describe('PutNamespace', () => {
  it('makes a namespace, complete with what the server says', async () => {
    const made = await put('complete');
    expect(made).toMatchObject({
      namespace: 'complete',
      description: '',
      version: 1n,
      settings: {
        retention: {
          executions: seconds(30 * DAY),
          log: seconds(30 * DAY),
          closedDeadLetters: seconds(20 * DAY),
          eventIds: seconds(90 * DAY),
          eventIdsForever: false,
        },
        maxPayloadBytes: 1_048_576n,
        maxHops: 64,
      },
    });
    expect(made.createTime).toBeDefined();
    const { namespaces } = await tailrace.admin.listNamespaces({});
    expect(namespaces.map(({ namespace }) => namespace)).toEqual(expect.arrayContaining(['complete', 'default']));
    expect(namespaces.find(({ namespace }) => namespace === 'complete')?.settings).toEqual(made.settings);
  });

  it('counts changes, leaves what is the same, and tells each in the log', async () => {
    const settings = { retention: { log: seconds(2 * DAY), eventIdsForever: true }, maxHops: 5 };
    await put('counted', { description: 'first', settings });
    expect((await put('counted', { description: 'first', settings })).version).toBe(1n);
    const second = await put('counted', { description: 'second', settings });
    expect(second).toMatchObject({ version: 2n, settings: { maxHops: 5, retention: { log: seconds(2 * DAY) } } });
    expect(second.settings?.retention?.eventIds).toBeUndefined();
    // What is left out goes back to what the server says, and zero is as good as nothing.
    const third = await put('counted', { description: 'second', settings: { retention: { log: seconds(0) } } });
    expect(third).toMatchObject({ version: 3n, settings: { maxHops: 64, retention: { log: seconds(30 * DAY) } } });
    await eventually(async () => (await updates('counted')).length === 3);
    const entries = await updates('counted');
    expect(entries.map(({ subject }) => subject)).toEqual(['counted', 'counted', 'counted']);
    expect(entries.map(({ body }) => (body.value as Record<string, unknown>)['version'])).toEqual([1, 2, 3]);
  });

  it('refuses a version that is not the present one', async () => {
    expect(await refusal(put('guarded', { expectedVersion: 1n }))).toMatchObject({
      reason: 'VERSION_CONFLICT',
      metadata: { namespace: 'guarded', current_version: '0' },
    });
    await put('guarded');
    await put('guarded', { description: 'new', expectedVersion: 1n });
    expect(await refusal(put('guarded', { description: 'newer', expectedVersion: 1n }))).toMatchObject({
      reason: 'VERSION_CONFLICT',
      metadata: { current_version: '2' },
    });
  });

  it('lets two that change it at once follow each other', async () => {
    await put('raced');
    const races = Array.from({ length: 8 }, (_, i) => put('raced', { description: `by ${i}`, expectedVersion: 1n }));
    const won = (await Promise.allSettled(races)).filter(({ status }) => status === 'fulfilled');
    expect(won).toHaveLength(1);
    const free = Array.from({ length: 8 }, (_, i) => put('raced', { description: `free ${i}` }));
    const versions = (await Promise.all(free)).map(({ version }) => version);
    expect(Math.max(...versions.map(Number))).toBe(10);
    const makers = Array.from({ length: 8 }, () => put('made-at-once', { description: 'the same' }));
    expect((await Promise.all(makers)).map(({ version }) => version)).toEqual(Array(8).fill(1n));
  });

  it.each([
    ['a name in capitals', { namespace: 'Big' }, 'namespace'],
    ['a name with a slash', { namespace: 'a/b' }, 'namespace'],
    ['a long name', { namespace: 'n'.repeat(65) }, 'namespace'],
    ['all of them', { namespace: '*' }, 'namespace'],
    ['a long description', { description: 'd'.repeat(1_025) }, 'description'],
    [
      'less than is kept at least',
      { settings: { retention: { executions: seconds(3_599) } } },
      'settings.retention.executions',
    ],
    [
      'less than nothing',
      { settings: { retention: { closedDeadLetters: seconds(-1) } } },
      'settings.retention.closed_dead_letters',
    ],
    ['more than the server takes', { settings: { maxPayloadBytes: 1_048_577n } }, 'settings.max_payload_bytes'],
    ['fewer bytes than none', { settings: { maxPayloadBytes: -1n } }, 'settings.max_payload_bytes'],
    ['too many hops', { settings: { maxHops: 1_001 } }, 'settings.max_hops'],
  ])('refuses %s', async (_, wrong, field) => {
    const refused = await refusal(put('wrong', wrong));
    expect(refused).toMatchObject({ reason: 'INVALID_FIELD', fieldViolations: [{ field }] });
  });

  it('changes one that came into being under another name', async () => {
    await new ByHand(tailrace, 'hand', 'hand', 'Odd Name').createOne();
    expect(await put('Odd Name', { description: 'odd' })).toMatchObject({ version: 2n, description: 'odd' });
  });
});

describe('settings', () => {
  const BYTES = 2_048;
  // Payloads of frames have a setting of their own.
  const FRAME_BYTES = 65_536;
  const HUGE = 'x'.repeat(70_000);
  /** Every request with one of its payloads grown, and whether that is of a frame. */
  const oversized = (estate: Estate) =>
    METHODS.flatMap((method) => {
      const { message, variants = [] } = requestsTo(estate).get(nameOf(method)) ?? {};
      return [message, ...variants].flatMap((one) => {
        if (one === undefined) return [];
        return payloadsIn(one).map((_, i) => {
          const grown = clone(method.input, one);
          const at = payloadsIn(grown)[i];
          if (at === undefined) throw new Error('a copy without the payload');
          at.payload.body = { case: 'text', value: HUGE };
          return { method, body: toBinary(method.input, grown), ofFrame: at.ofFrame };
        });
      });
    });
  const send = async (method: DescMethod, body: Uint8Array) => {
    const answer = await callRaw(tailrace.url, method, body);
    return 'refusal' in answer ? answer.refusal.detail : itemRefusal(answer.message);
  };

  it('hold every call that takes a payload to what the namespace takes', async () => {
    const estate = await makeEstate(tailrace, 'narrow');
    await put('narrow', { settings: { maxPayloadBytes: BigInt(BYTES) } });
    const cases = oversized(estate);
    expect(cases.length).toBeGreaterThan(20);
    for (const { method, body, ofFrame } of cases) {
      expect(await send(method, body), nameOf(method)).toMatchObject({
        reason: 'PAYLOAD_TOO_LARGE',
        metadata: { limit: String(ofFrame ? FRAME_BYTES : BYTES) },
      });
    }
    const { limits } = await tailrace.admin.getServerInfo({ namespace: 'narrow' });
    expect(limits?.maxPayloadBytes).toBe(BigInt(BYTES));
    // Elsewhere the server's own limit holds.
    const [first] = oversized(await makeEstate(tailrace, 'wide'));
    if (first === undefined) throw new Error('no call takes a payload');
    expect((await send(first.method, first.body))?.reason).not.toBe('PAYLOAD_TOO_LARGE');
  });

  it('hold what comes in SQL', async () => {
    await put('in-sql', { settings: { maxPayloadBytes: 1_024n } });
    const sql = await SqlClients.start(database);
    const large = JSON.stringify('x'.repeat(1_023));
    const event = JSON.stringify({ failure_events: [{ event: { type: 'a', payload: JSON.parse(large) } }] });
    const calls: [string, unknown[]][] = [
      ['create_execution($1, $2, $3)', ['a', large]],
      ['create_execution($1, $2, null, $3)', ['a', event]],
      ['publish_event($1, $2, $3)', ['a', large]],
    ];
    for (const [call, values] of calls) {
      const refused = await sqlRefusal(sql.call(call, ['in-sql', ...values]));
      expect(refused, call).toMatchObject({ reason: 'PAYLOAD_TOO_LARGE', metadata: { limit: '1024', size: '1025' } });
      await sql.call(call, ['default', ...values]);
    }
    await sql.stop();
  });

  it('hold on other servers within a pulse', async () => {
    const there = new ByHand(other, 'there', 'there', 'heard');
    const spec = { type: 'work', input: text('x'.repeat(BYTES)) };
    await there.createOne(spec);
    await put('heard', { settings: { maxPayloadBytes: 100n } });
    const isRefused = async () => (await there.createOne(spec).catch(() => undefined)) === undefined;
    await eventually(isRefused);
    await put('heard');
    await eventually(async () => !(await isRefused()));
  });

  it('end a chain of events where the namespace says so', async () => {
    const namespace = 'short-chains';
    await put(namespace, { settings: { maxHops: 1 } });
    const hand = new ByHand(tailrace, 'hand', 'hand', namespace);
    const react = { name: 'again', filter: { eventTypes: ['tick'] }, type: 'work', lane: 'chain' };
    await tailrace.admin.putSubscription({ namespace, subscription: react });
    await tailrace.engine.publishEvents({ namespace, events: [{ type: 'tick' }] });
    for (let hops = 0; hops < 2; hops++) {
      const claim = await hand.claimOne({ lanes: [{ lane: 'chain' }] });
      const lease = leaseOf(claim);
      await tailrace.engine.completeExecutions({ namespace, completions: [{ lease, events: [{ type: 'tick' }] }] });
    }
    await eventually(async () => {
      const { deadLetters } = await tailrace.deadLetters.listDeadLetters({ namespace });
      return deadLetters.length === 1;
    });
    const { executions } = await tailrace.admin.listExecutions({ namespace });
    expect(executions).toHaveLength(2);
    // More hops later do not make a reaction missing to what had too many.
    await put(namespace, { settings: { maxHops: 64 } });
    const rules = await verify(tailrace.running.engine.database);
    expect(rules.filter(({ violations }) => violations.length > 0)).toEqual([]);
  });
});

/** Messages are plain objects. */
function payloadsIn(value: unknown, ofFrame = false): { payload: Payload; ofFrame: boolean }[] {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return [];
  if (isMessage(value, PayloadSchema)) return [{ payload: value, ofFrame }];
  const inFrame = ofFrame || isMessage(value, FrameSpecSchema);
  return Object.values(value).flatMap((inner) => payloadsIn(inner, inFrame));
}

function itemRefusal(message: Message) {
  const { results } = message as Message & { results?: { result: { case?: string; value?: unknown } }[] };
  const [item] = results ?? [];
  return item?.result.case === 'error' ? (item.result.value as ItemError).detail : undefined;
}
