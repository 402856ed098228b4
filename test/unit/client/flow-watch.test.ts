import type { MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError, createRouterTransport } from '@connectrpc/connect';
import { beforeEach, describe, expect, test } from 'vitest';
import {
  type AwaitFlowRequest,
  CompletionService,
  FlowMilestone,
  type WatchFlowRequest,
  type WatchFlowResponseSchema,
} from '../../../gen/tailrace/v1/completion_service_pb.js';
import { ErrorDetailSchema } from '../../../gen/tailrace/v1/error_pb.js';
import { FlowState } from '../../../gen/tailrace/v1/flow_pb.js';
import { Client, type TailraceError } from '../../../src/client/index.js';

type Message = MessageInitShape<typeof WatchFlowResponseSchema>;
type Step = Message | ConnectError | 'hang';

/** What each stream does, one after the other; a stream that hangs does so until it is closed, others end. */
let streams: Step[][];
let requests: WatchFlowRequest[];
/** How often a wait is over without the flow being there. */
let patience: number;
let awaited: AwaitFlowRequest[];

const client = new Client({
  url: '',
  transport: createRouterTransport(({ service }) => {
    service(CompletionService, {
      async *watchFlow(request, { signal }) {
        requests.push(request);
        for (const step of streams.shift() ?? ['hang' as const]) {
          if (step instanceof ConnectError) throw step;
          if (step === 'hang') await new Promise((resolve) => signal.addEventListener('abort', resolve));
          else yield step;
        }
      },
      async awaitFlow(request) {
        awaited.push(request);
        return { done: awaited.length > patience, flow: { flowId: request.flowId, state: FlowState.IDLE } };
      },
    });
  }),
});

beforeEach(() => {
  streams = [];
  requests = [];
  awaited = [];
  patience = 0;
});

const { ACTIVE, IDLE, SUCCEEDED, FAILED } = FlowState;
const state = (flowState: FlowState, cursor: string): Message => ({
  flow: { state: flowState },
  heartbeat: { cursor },
});
const entries = (...ids: string[]): Message => ({ entries: ids.map((id) => ({ cursor: `c${id}`, executionId: id })) });
const lost = () => new ConnectError('connection lost', Code.Unavailable);

async function all(options = {}): Promise<[string[], FlowState, string]> {
  const watch = await client.watchFlow('flow', options);
  const seen: string[] = [];
  for await (const { executionId } of watch) seen.push(executionId);
  return [seen, watch.flow.state, watch.cursor];
}

describe('a watch of a flow', () => {
  test('shows its state, hands out what happens, and ends with the flow', async () => {
    streams = [
      [state(ACTIVE, 'c0'), entries('1', '2'), { heartbeat: { cursor: 'c3' } }, entries('4'), state(FAILED, 'c5')],
    ];
    const watch = await client.watchFlow('flow', { omitPayloads: true });
    expect(watch.flow.state).toBe(ACTIVE);
    const seen: string[] = [];
    for await (const { executionId } of watch) seen.push(executionId);
    expect([seen, watch.flow.state, watch.cursor]).toEqual([['1', '2', '4'], FAILED, 'c5']);
    expect(requests).toMatchObject([{ flowId: 'flow', cursor: '', omitPayloads: true }]);
  });

  test('of a flow that has ended is over at once', async () => {
    streams = [[state(SUCCEEDED, 'c9')]];
    expect(await all()).toEqual([[], SUCCEEDED, 'c9']);
    expect(requests).toHaveLength(1);
  });

  test.each([
    ['a lost connection', [lost()]],
    ['an end without a word', []],
  ])('resumes over %s, whatever the state was that it began with', async (_, interruption: Step[]) => {
    streams = [
      [state(ACTIVE, 'c0'), entries('1'), ...interruption],
      [state(SUCCEEDED, 'c1'), entries('2'), ...interruption],
      [state(SUCCEEDED, 'c2'), entries('3'), state(SUCCEEDED, 'c3')],
    ];
    expect(await all({ cursor: 'before' })).toEqual([['1', '2', '3'], SUCCEEDED, 'c3']);
    expect(requests.map(({ cursor }) => cursor)).toEqual(['before', 'c1', 'c2']);
  });

  test('goes on while the flow only rests', async () => {
    streams = [[state(IDLE, 'c0'), entries('1'), state(SUCCEEDED, 'c2')]];
    expect(await all()).toEqual([['1'], SUCCEEDED, 'c2']);
  });

  test('of no flow is refused', async () => {
    const detail = { desc: ErrorDetailSchema, value: { reason: 'FLOW_NOT_FOUND' } };
    streams = [[new ConnectError('there is none', Code.NotFound, undefined, [detail])]];
    await expect(client.watchFlow('flow')).rejects.toMatchObject({
      reason: 'FLOW_NOT_FOUND',
    } satisfies Partial<TailraceError>);
  });
});

describe('a wait for a flow', () => {
  test('is repeated until it is there', async () => {
    patience = 2;
    expect(await client.awaitFlow('flow')).toMatchObject({ done: true, flow: { state: IDLE } });
    expect(awaited.map(({ until, timeout }) => [until, timeout?.seconds])).toEqual(
      Array.from({ length: 3 }, () => [FlowMilestone.ENDED, 30n]),
    );
  });

  test('is over with its time', async () => {
    patience = 1;
    expect(await client.awaitFlow('flow', { until: 'settled', timeoutMs: 0 })).toMatchObject({ done: false });
    expect(awaited).toMatchObject([{ until: FlowMilestone.SETTLED }]);
  });
});
