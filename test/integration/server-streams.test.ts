/** Streams go at the pace of their reader and clean up behind themselves. */
import http2 from 'node:http2';
import { Code, createClient } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CompletionService } from '../../gen/tailrace/v1/completion_service_pb.js';
import { TinyServer } from '../support/tiny-server.js';

const MESSAGES = 2_000;
const cursor = 'x'.repeat(8 * 1024);
let server: TinyServer;
let yielded = 0;
let cleanedUp = 0;

beforeAll(async () => {
  server = await TinyServer.start({
    routes: (router) => {
      router.service(CompletionService, {
        async *watchCompletions() {
          yielded = 0;
          try {
            for (; yielded < MESSAGES; yielded++) yield { heartbeat: { cursor } };
          } finally {
            cleanedUp++;
          }
        },
      });
    },
  });
});
afterAll(() => server.drain());

test('a reader that stops reading stops its handler; one that leaves ends it', async () => {
  const session = http2.connect(server.address.url);
  const path = '/tailrace.v1.CompletionService/WatchCompletions';
  const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc' });
  stream.end(Buffer.alloc(5)); // an empty message
  await expect.poll(() => yielded).toBeGreaterThan(0);
  const round = () => new Promise((resolve) => session.ping(() => resolve(yielded)));
  await round();
  const settled = await round();
  expect(settled).toBeLessThan(100);
  expect(await round()).toBe(settled);

  const before = cleanedUp;
  stream.close(http2.constants.NGHTTP2_CANCEL);
  await expect.poll(() => cleanedUp).toBe(before + 1);
  expect(yielded).toBeLessThan(100);
  session.close();
});

test.each([
  ['Connect, HTTP/1.1', () => createConnectTransport({ baseUrl: server.address.url, httpVersion: '1.1' })],
  ['gRPC', () => createGrpcTransport({ baseUrl: server.address.url })],
])('a slow reader over %s gets everything', async (_, transport) => {
  let got = 0;
  for await (const { heartbeat } of createClient(CompletionService, transport()).watchCompletions({})) {
    got++;
    if (got % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
    if (heartbeat?.cursor.length !== cursor.length) throw new Error('cut');
  }
  expect(got).toBe(MESSAGES);
});

test('a reader that cancels ends the handler', async () => {
  const before = cleanedUp;
  const leaving = new AbortController();
  const client = createClient(
    CompletionService,
    createConnectTransport({ baseUrl: server.address.url, httpVersion: '2' }),
  );
  const reading = (async () => {
    for await (const _ of client.watchCompletions({}, { signal: leaving.signal })) leaving.abort();
  })();
  await expect(reading).rejects.toMatchObject({ code: Code.Canceled });
  await expect.poll(() => cleanedUp).toBe(before + 1);
});
