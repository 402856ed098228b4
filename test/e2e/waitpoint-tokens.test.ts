/**
 * Who may signal by a token: its bearer, where it was made for, as long as it is good. Everybody else is told the same,
 * whatever is wrong, and costs the database nothing.
 */
import { create, toBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EngineService, SignalExecutionRequestSchema } from '../../gen/tailrace/v1/engine_service_pb.js';
import { SignalEffect } from '../../gen/tailrace/v1/signal_pb.js';
import { Database } from '../../src/repository/database.js';
import { SealedTokens } from '../../src/services/tokens/index.js';
import { refusal, seconds } from '../support/by-hand.js';
import { Chance } from '../support/chance.js';
import { eventually } from '../support/eventually.js';
import { Forger } from '../support/forged-tokens.js';
import { HeldExecution } from '../support/held-execution.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';
import { SECRETS_KEY, startTailrace, type TestTailrace } from '../support/tailrace.js';

const FORGED_IN_PROCESS = 96_000;
const BATCH = 8_000;
const FORGED_BY_CALL = 4_000;
const TOGETHER = 200;

let database: TestDatabase;
let here: TestTailrace;
let there: TestTailrace;
beforeAll(async () => {
  database = await freshDatabase();
  [here, there] = await Promise.all([startTailrace({ database }), startTailrace({ database })]);
});
afterAll(async () => {
  await Promise.all([here.stop(), there.stop()]);
  await database.drop();
});

const hold = (namespace = '', clients: TestTailrace = here) => HeldExecution.make(clients, namespace);

function signal(token: string, { namespace = '', clients = here, idempotencyKey = '' } = {}) {
  const target = { case: 'waitpointToken' as const, value: token };
  return clients.engine.signalExecution({ namespace, target, name: 'go', idempotencyKey });
}

describe('forged tokens', () => {
  test(`of ${FORGED_IN_PROCESS}, made in every way, none is taken for genuine, and reads are few`, async () => {
    const held = await hold();
    const genuine = await held.tokens('a', 'b', 'c');
    const chance = new Chance(20_251);
    const forger = new Forger(chance, genuine);
    const own = new Database({ url: database.url, schema: database.schema, connections: 1 });
    try {
      const key = Buffer.from(SECRETS_KEY, 'base64');
      const verifier = new SealedTokens({ database: own, key, log: { error: () => undefined } });
      for (const token of genuine) expect(await verifier.verify(token)).toBeDefined();
      const [before, started] = [own.sent, performance.now()];
      for (let made = 0; made < FORGED_IN_PROCESS; made += BATCH) {
        const tokens = Array.from({ length: BATCH }, () => forger.next());
        const verdicts = await Promise.all(tokens.map((token) => verifier.verify(token)));
        expect(tokens.filter((_, i) => verdicts[i] !== undefined)).toEqual([]);
      }
      // Only those that name a secret which nobody has met are looked up: all of them together, four times a second.
      expect(own.sent - before).toBeLessThanOrEqual((performance.now() - started) / 250 + 1);
      for (const token of genuine) expect(await verifier.verify(token)).toBeDefined();
    } finally {
      await own.close();
    }
  });

  test(`of ${FORGED_BY_CALL} sent to the API, and of what is genuine but no good any more, each is told the same`, async () => {
    const once = await noGood();
    const held = await hold();
    const good = await held.tokens('a', 'b');
    const forger = new Forger(new Chance(7), [...good, ...Object.values(once)]);
    const tokens = Array.from({ length: FORGED_BY_CALL }, () => forger.next());
    for (const [why, token] of Object.entries(once)) {
      expect((await refusal(signal(token))).reason, why).toBe('INVALID_WAITPOINT_TOKEN');
      tokens.push(...Array.from({ length: 20 }, () => token));
    }
    const answers = new Set(await Promise.all(good.map((token) => rawAnswer(token, 'never used'))));
    for (let at = 0; at < tokens.length; at += TOGETHER) {
      const batch = tokens.slice(at, at + TOGETHER);
      for (const answer of await Promise.all(batch.map((token) => rawAnswer(token)))) answers.add(answer);
    }
    expect([...answers]).toHaveLength(1);
    expect([...answers][0]).toContain('permission_denied');
    expect(await held.signalsReceived()).toEqual({ a: 0, b: 0 });
    for (const token of good) expect((await signal(token)).effect).toBe(SignalEffect.BUFFERED);
  });

  /** Tokens that a server made, each of which must be refused here for another reason. */
  async function noGood(): Promise<Record<string, string>> {
    const foreign = await (await hold('stranger')).token('a');
    const ended = await hold();
    const ofEnded = await ended.token('a');
    await ended.complete();
    const expired = await hold();
    const ofExpired = await expired.token('a', seconds(1));
    await eventually(async () => (await expired.openWaitpoints()).length === 0);
    const over = await hold();
    const ofOver = await over.token('a');
    await over.suspend('go', 'a');
    await signal(ofOver);
    const rotated = await hold();
    const ofRotated = await rotated.token('a');
    for (let times = 0; times < 2; times++) await here.admin.rotateWaitpointSecret({ grace: seconds(3_600) });
    return { foreign, ofEnded, ofExpired, ofOver, ofRotated };
  }

  /** Everything of an answer but when it was given. */
  async function rawAnswer(waitpointToken: string, namespace = ''): Promise<string> {
    const target = { case: 'waitpointToken' as const, value: waitpointToken };
    const { typeName } = EngineService;
    const response = await fetch(`${here.url}/${typeName}/SignalExecution`, {
      method: 'POST',
      headers: { 'content-type': 'application/proto' },
      body: Buffer.from(
        toBinary(SignalExecutionRequestSchema, create(SignalExecutionRequestSchema, { namespace, target, name: 'go' })),
      ),
    });
    // What differs between any two calls.
    const headers = [...response.headers].filter(([name]) => name !== 'date' && name !== 'x-request-id');
    return JSON.stringify([response.status, headers, await response.text()]);
  }
});
