/** Where metrics are told, to whom, and how many names they tell apart. */
import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Role } from '../../gen/tailrace/v1/namespace_pb.js';
import { ByHand } from '../support/by-hand.js';
import { eventually } from '../support/eventually.js';
import { type Guarded, startGuarded } from '../support/guarded.js';
import { readExposition, sampleOf } from '../support/metrics/exposition.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

let open: TestTailrace;
let guarded: Guarded;
beforeAll(async () => {
  [open, guarded] = await Promise.all([
    startTailrace({ environment: { TAILRACE_METRICS_PORT: '0', TAILRACE_METRICS_NAMES: '2' } }),
    startGuarded({ environment: { TAILRACE_METRICS_ON_API_PORT: 'true' } }),
  ]);
});
afterAll(async () => {
  await Promise.all([open.stop(), guarded.stop()]);
});

describe('the port of their own', () => {
  const own = () => open.running.metricsUrl ?? '';
  const port = () => new URL(own()).port;

  test('tells them to whoever asks, and nothing else', async () => {
    const answer = await fetch(own());
    expect([answer.status, answer.headers.get('content-type')]).toEqual([
      200,
      'text/plain; version=0.0.4; charset=utf-8',
    ]);
    expect(readExposition(await answer.text()).size).toBeGreaterThan(50);
    expect((await fetch(`${own()}?collect=all`)).status).toBe(200);
    const head = await fetch(own(), { method: 'HEAD' });
    expect([head.status, await head.text()]).toEqual([200, '']);
    const others = ['/', '/metrics/', '/healthz', '/tailrace.v1.EngineService/ClaimExecutions'];
    for (const path of others) expect((await fetch(new URL(path, own()))).status, path).toBe(404);
    const posted = await fetch(own(), { method: 'POST', body: 'x'.repeat(100_000) });
    expect([posted.status, posted.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
  });

  test('listens on the loopback address unless it is told otherwise', () => {
    expect(new URL(own()).hostname).toBe('127.0.0.1');
  });

  test('refuses headers without end', async () => {
    const asked = request({ port: port(), path: '/metrics', headers: { stuffed: 'x'.repeat(20_000) } });
    const status = await new Promise((resolve) => {
      asked.on('response', (answer) => resolve(answer.statusCode));
      asked.on('error', resolve);
      asked.end();
    });
    expect(status).toBe(431);
  });

  test('that is in use keeps a second server from starting, which says so and leaves nothing behind', async () => {
    const starting = startTailrace({ database: open.database, environment: { TAILRACE_METRICS_PORT: port() } });
    await expect(starting).rejects.toThrow(`cannot serve metrics on 127.0.0.1:${port()}: the port is already in use`);
    expect((await fetch(own())).status).toBe(200);
  });

  test('tells the first lanes apart, and adds up the others, in counts and in times', async () => {
    const hand = new ByHand(open, 'namer');
    for (const lane of ['first', 'second', 'third', 'fourth']) {
      await hand.create({ lane }, { lane });
      await hand.complete(await hand.claimOne({ lanes: [{ lane }] }));
    }
    const others = { namespace: 'other', lane: 'other' };
    await eventually(async () => {
      const families = readExposition(await (await fetch(own())).text());
      const queued = (labels: Record<string, string>) =>
        sampleOf(families, 'tailrace_executions', { ...labels, state: 'queued' });
      if (queued(others) !== 2) return false;
      expect([queued({ lane: 'first' }), queued({ lane: 'second' }), queued({ lane: 'third' })]).toEqual([
        1,
        1,
        undefined,
      ]);
      expect(sampleOf(families, 'tailrace_attempt_duration_seconds_count', others)).toBe(2);
      expect(sampleOf(families, 'tailrace_attempt_duration_seconds_count', { lane: 'first' })).toBe(1);
      return true;
    });
  });

  test('is the only place where they are, and there is none without the setting', async () => {
    expect((await fetch(`${open.url}/metrics`)).status).toBe(404);
    expect(guarded.running.metricsUrl).toBeUndefined();
  });
});

describe('the port of the API, where a setting asks for it', () => {
  const ask = async (headers: Record<string, string> = {}, method = 'GET') =>
    await fetch(`${guarded.url}/metrics`, { headers, method });

  test('takes an observer or operator of all namespaces', async () => {
    for (const role of [Role.OBSERVER, Role.OPERATOR]) {
      const { headers } = await guarded.as({ namespace: '*', roles: [role] });
      const answer = await ask(headers);
      expect([role, answer.status]).toEqual([role, 200]);
      expect(readExposition(await answer.text()).size).toBeGreaterThan(50);
    }
  });

  test('refuses everybody else, in words', async () => {
    const client = await guarded.as({ namespace: '*', roles: [Role.CLIENT, Role.WORKER] });
    const bound = await guarded.as({ namespace: 'default', roles: [Role.OBSERVER] });
    const nobody = await ask();
    expect([nobody.status, nobody.headers.get('www-authenticate')]).toEqual([401, 'Bearer']);
    const answers = await Promise.all(
      [client.headers, bound.headers, { authorization: 'Bearer tr_forged' }].map((h) => ask(h)),
    );
    expect(answers.map(({ status }) => status)).toEqual([403, 403, 401]);
    for (const answer of [nobody, ...answers]) {
      const text = await answer.text();
      expect(JSON.parse(text)).toMatchObject({ message: expect.any(String) });
      expect(text).not.toContain('tailrace_executions');
    }
  });

  test('is read and not written', async () => {
    const { headers } = await guarded.as({ namespace: '*', roles: [Role.OBSERVER] });
    expect((await ask(headers, 'POST')).status).toBe(405);
    expect((await ask(headers, 'HEAD')).status).toBe(200);
  });
});
