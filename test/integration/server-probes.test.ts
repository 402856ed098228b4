/** What load balancers, health watchers and reflection clients are told. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { create, createFileRegistry, fromBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { Code, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Health, HealthCheckResponse_ServingStatus as Serving } from '../../gen/health/v1/health_pb.js';
import { ServerReflection, type ServerReflectionRequestSchema } from '../../gen/reflection/v1/reflection_pb.js';
import { ServerReflection as ServerReflectionAlpha } from '../../gen/reflection/v1alpha/reflection_pb.js';
import { packageRoot } from '../../src/runtime/package-root.js';
import { TinyServer } from '../support/tiny-server.js';

let server: TinyServer;
beforeAll(async () => {
  server = await TinyServer.start();
});
afterAll(() => server.drain());

describe('pages', () => {
  const get = (path: string, method = 'GET') => fetch(server.address.url + path, { method });

  test('/ says what is served', async () => {
    const text = await (await get('/')).text();
    expect(text).toContain('Tailrace 0.0.0-test');
    expect(text).toContain('tailrace.v1.EngineService');
  });

  test('/readyz follows the parts, /healthz does not', async () => {
    expect([(await get('/readyz')).status, (await get('/healthz')).status]).toEqual([200, 200]);
    server.readiness.set('database', false, 'unreachable since 12:00');
    const unready = await get('/readyz');
    expect([unready.status, (await get('/healthz')).status]).toEqual([503, 200]);
    expect(await unready.json()).toMatchObject({
      ready: false,
      parts: { database: { note: 'unreachable since 12:00' } },
    });
    server.readiness.set('database', true);
    expect((await get('/readyz')).status).toBe(200);
  });

  test('take GET and HEAD only', async () => {
    expect([(await get('/healthz', 'HEAD')).status, (await get('/healthz', 'DELETE')).status]).toEqual([200, 405]);
  });
});

describe('gRPC health', () => {
  const health = () => createClient(Health, createGrpcTransport({ baseUrl: server.address.url }));

  test('knows the server and each service', async () => {
    for (const service of ['', 'tailrace.v1.EngineService', 'grpc.health.v1.Health']) {
      expect((await health().check({ service })).status, service).toBe(Serving.SERVING);
    }
    const { statuses } = await health().list({});
    expect(Object.keys(statuses)).toEqual(expect.arrayContaining(['', 'tailrace.v1.CompletionService']));
  });

  test('tells by service: what follows the log is down while its sequencer is, what works goes on', async () => {
    const status = async (service: string) => (await health().check({ service })).status;
    const all = [
      '',
      'tailrace.v1.CompletionService',
      'tailrace.v1.EngineService',
      'grpc.reflection.v1.ServerReflection',
    ];
    server.readiness.set('sequencer', false, 'entries wait');
    expect(await Promise.all(all.map(status))).toEqual([2, 2, 1, 1]);
    server.readiness.set('sequencer', true);
    server.readiness.set('database', false, 'gone');
    expect(await Promise.all(all.map(status))).toEqual([2, 2, 2, 1]);
    server.readiness.set('database', true);
    expect(await Promise.all(all.map(status))).toEqual([1, 1, 1, 1]);
  });

  test('answers NOT_FOUND for a service it does not have, and SERVICE_UNKNOWN to a watch', async () => {
    await expect(health().check({ service: 'nope' })).rejects.toMatchObject({ code: Code.NotFound });
    for await (const { status } of health().watch({ service: 'nope' })) {
      expect(status).toBe(Serving.SERVICE_UNKNOWN);
      break;
    }
  });

  test('tells a watch of each change', async () => {
    const seen: Serving[] = [];
    for await (const { status } of health().watch({ service: 'tailrace.v1.EngineService' })) {
      seen.push(status);
      if (seen.length === 3) break;
      server.readiness.set('database', status !== Serving.SERVING);
    }
    expect(seen).toEqual([Serving.SERVING, Serving.NOT_SERVING, Serving.SERVING]);
  });
});

describe('reflection', () => {
  type Question = MessageInitShape<typeof ServerReflectionRequestSchema>['messageRequest'];

  async function ask(question: NonNullable<Question>) {
    const transport = createGrpcTransport({ baseUrl: server.address.url });
    async function* questions() {
      yield { host: 'me', messageRequest: question };
    }
    for await (const answer of createClient(ServerReflection, transport).serverReflectionInfo(questions())) {
      expect(answer).toMatchObject({ validHost: 'me', originalRequest: { messageRequest: { case: question.case } } });
      return answer.messageResponse;
    }
    throw new Error('no answer');
  }

  test.each([
    'tailrace.v1.EngineService',
    'tailrace.v1.EngineService.ClaimExecutions',
    'tailrace.v1.ErrorDetail',
    'tailrace.v1.ErrorDetail.reason',
    'tailrace.v1.ErrorCode',
    'tailrace.v1.ERROR_CODE_ABORTED',
    'google.protobuf.Duration',
    'grpc.health.v1.HealthCheckResponse.ServingStatus',
  ])('finds the file of %s, with all it imports', async (symbol) => {
    const answer = await ask({ case: 'fileContainingSymbol', value: symbol });
    if (answer.case !== 'fileDescriptorResponse') throw new Error(`answered ${answer.case}`);
    const file = answer.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
    const names = file.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    // A registry refuses a file whose imports it does not have yet.
    expect([...createFileRegistry(create(FileDescriptorSetSchema, { file: file.toReversed() })).files].length).toBe(
      file.length,
    );
  });

  test('finds files by path and refuses what it does not know, without ending the stream', async () => {
    const known = await ask({ case: 'fileByFilename', value: 'tailrace/v1/error.proto' });
    expect(known.case).toBe('fileDescriptorResponse');
    const questions: NonNullable<Question>[] = [
      { case: 'fileByFilename', value: 'nope.proto' },
      { case: 'fileContainingSymbol', value: 'tailrace.v1.Nope' },
      {
        case: 'fileContainingExtension',
        value: { containingType: 'google.protobuf.MethodOptions', extensionNumber: 1 },
      },
      { case: 'allExtensionNumbersOfType', value: 'tailrace.v1.Nope' },
    ];
    for (const question of questions) {
      expect(await ask(question)).toMatchObject({ case: 'errorResponse', value: { errorCode: Code.NotFound } });
    }
    expect(await ask({ case: 'allExtensionNumbersOfType', value: 'tailrace.v1.ErrorDetail' })).toMatchObject({
      case: 'allExtensionNumbersResponse',
      value: { extensionNumber: [] },
    });
    expect(await ask({ case: undefined })).toMatchObject({ value: { errorCode: Code.InvalidArgument } });
  });

  test('lists the services, in v1alpha as well', async () => {
    async function* questions() {
      yield { messageRequest: { case: 'listServices', value: '' } } as const;
    }
    const alpha = createClient(ServerReflectionAlpha, createGrpcTransport({ baseUrl: server.address.url }));
    for await (const { messageResponse } of alpha.serverReflectionInfo(questions())) {
      if (messageResponse.case !== 'listServicesResponse') throw new Error(`answered ${messageResponse.case}`);
      expect(messageResponse.value.service.map(({ name }) => name)).toEqual([
        'tailrace.v1.EngineService',
        'tailrace.v1.CompletionService',
        'grpc.health.v1.Health',
        'grpc.reflection.v1.ServerReflection',
        'grpc.reflection.v1alpha.ServerReflection',
      ]);
      return;
    }
  });

  test.each(['connect', 'grpc', 'grpcweb'])('is enough for buf curl over %s', async (protocol) => {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [
        'node_modules/@bufbuild/buf/bin/buf',
        'curl',
        ...['--http2-prior-knowledge', '--protocol', protocol, '--data', '{"lanes": ["from buf"]}'],
        `${server.address.url}/tailrace.v1.EngineService/HeartbeatWorker`,
      ],
      { cwd: packageRoot() },
    );
    expect(JSON.parse(stdout)).toEqual({ drainReason: 'from buf' });
  });
});
