import type { MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError, createRouterTransport } from '@connectrpc/connect';
import { beforeEach, describe, expect, test } from 'vitest';
import {
  CompletionService,
  type WatchCompletionsRequest,
  type WatchCompletionsResponseSchema,
} from '../../../gen/tailrace/v1/completion_service_pb.js';
import { ErrorDetailSchema } from '../../../gen/tailrace/v1/error_pb.js';
import { StartPosition } from '../../../gen/tailrace/v1/log_pb.js';
import { Client } from '../../../src/client/index.js';

type Message = MessageInitShape<typeof WatchCompletionsResponseSchema>;
type Step = Message | ConnectError | 'end' | 'hang';

/** What each stream does, one after the other; the last one goes on for ever. */
let streams: Step[][];
let requests: WatchCompletionsRequest[];

const client = new Client({
  url: '',
  transport: createRouterTransport(({ service }) => {
    service(CompletionService, {
      async *watchCompletions(request, { signal }) {
        requests.push(request);
        for (const step of streams.shift() ?? ['hang' as const]) {
          if (step instanceof ConnectError) throw step;
          if (step === 'end') return;
          if (step === 'hang') await new Promise((resolve) => signal.addEventListener('abort', resolve));
          else yield step;
        }
      },
    });
  }),
});

beforeEach(() => {
  streams = [];
  requests = [];
});

const heartbeat = (cursor: string): Message => ({ heartbeat: { cursor } });
const entries = (...ids: string[]): Message => ({ entries: ids.map((id) => ({ cursor: `c${id}`, executionId: id })) });
const refusal = (reason: string, code: Code) =>
  new ConnectError(reason, code, undefined, [{ desc: ErrorDetailSchema, value: { reason } }]);
const lost = () => new ConnectError('connection lost', Code.Unavailable);

async function take(count: number, options = {}): Promise<string[]> {
  const seen: string[] = [];
  const watch = await client.watchCompletions(options);
  for await (const { executionId } of watch) if (seen.push(executionId) === count) break;
  return seen;
}

test('it is in place once it is there', async () => {
  streams = [[heartbeat('c0'), 'hang']];
  const watch = await client.watchCompletions({ from: 'earliest', filter: { lanes: ['a'] }, omitResults: true });
  expect(requests).toMatchObject([
    { start: StartPosition.EARLIEST, cursor: '', filter: { lanes: ['a'] }, omitResults: true },
  ]);
  watch.close();
});

describe('it resumes after the last entry it handed out', () => {
  test.each([
    ['a lost connection', lost()],
    ['a drained server', refusal('DRAINING', Code.Unavailable)],
    ['a database that is away', refusal('DATABASE_UNAVAILABLE', Code.Unavailable)],
    ['being too slow', refusal('STREAM_TOO_SLOW', Code.ResourceExhausted)],
    ['an end without a word', 'end' as const],
  ])('over %s', async (_, interruption) => {
    streams = [
      [heartbeat('c0'), entries('1', '2'), interruption],
      [heartbeat('c2'), entries('3')],
    ];
    expect(await take(3)).toEqual(['1', '2', '3']);
    expect(requests.map(({ cursor, start }) => [cursor, start])).toEqual([
      ['', StartPosition.LATEST],
      ['c2', StartPosition.UNSPECIFIED],
    ]);
  });

  test('over several failures in a row', async () => {
    streams = [[heartbeat('c0'), entries('1'), lost()], [lost()], [lost()], [heartbeat('c1'), entries('2')]];
    expect(await take(2)).toEqual(['1', '2']);
    expect(requests.map(({ cursor }) => cursor)).toEqual(['', 'c1', 'c1', 'c1']);
  });

  test('or after a heartbeat, when nothing matched for long', async () => {
    streams = [
      [heartbeat('c0'), entries('1'), heartbeat('c50'), lost()],
      [heartbeat('c50'), entries('60')],
    ];
    expect(await take(2)).toEqual(['1', '60']);
    expect(requests[1]?.cursor).toBe('c50');
  });

  test('and tells of the interruption', async () => {
    streams = [
      [heartbeat('c0'), lost()],
      [heartbeat('c0'), entries('1')],
    ];
    const told: string[] = [];
    await take(1, { onInterruption: ({ message }: Error) => told.push(message) });
    expect(told).toEqual(['connection lost']);
  });
});

test('a reader that leaves in the middle of a message can go on from there', async () => {
  streams = [[heartbeat('c0'), entries('1', '2', '3'), 'hang']];
  const watch = await client.watchCompletions();
  for await (const { executionId } of watch) if (executionId === '2') break;
  expect(watch.cursor).toBe('c2');
  streams = [[heartbeat('c2'), entries('3')]];
  expect(await take(1, { from: { cursor: watch.cursor } })).toEqual(['3']);
  expect(requests[1]).toMatchObject({ cursor: 'c2', start: StartPosition.UNSPECIFIED });
});

describe('it ends', () => {
  test.each([
    ['CURSOR_PRUNED', Code.OutOfRange],
    ['BAD_CURSOR', Code.InvalidArgument],
  ])('with %s, for going on would skip entries', async (reason, code) => {
    streams = [[heartbeat('c0'), entries('1'), lost()], [refusal(reason, code)]];
    await expect(take(2)).rejects.toMatchObject({ name: 'TailraceError', reason, code });
  });

  test('at once when it is refused from the start', async () => {
    streams = [[refusal('INVALID_FIELD', Code.InvalidArgument)]];
    await expect(client.watchCompletions()).rejects.toMatchObject({ reason: 'INVALID_FIELD' });
  });

  test('without an error when its signal aborts', async () => {
    streams = [[heartbeat('c0'), entries('1'), 'hang']];
    const abort = new AbortController();
    const seen: string[] = [];
    for await (const { executionId } of await client.watchCompletions({ signal: abort.signal })) {
      seen.push(executionId);
      abort.abort();
    }
    expect(seen).toEqual(['1']);
  });
});

test('without a server it gives up after the time a call may take', async () => {
  const impatient = new Client({
    url: '',
    retryForMs: 0,
    transport: createRouterTransport(({ service }) => {
      service(CompletionService, {
        // biome-ignore lint/correctness/useYield: it never gets that far.
        async *watchCompletions() {
          throw lost();
        },
      });
    }),
  });
  await expect(impatient.watchCompletions()).rejects.toMatchObject({ code: Code.Unavailable });
});
