/** Who follows a consumer's generations: one watch, however often looking at the consumer fails. */
import { Code, ConnectError, createRouterTransport } from '@connectrpc/connect';
import { afterEach, test } from 'vitest';
import { AdminService } from '../../../gen/tailrace/v1/admin_service_pb.js';
import { CompletionService } from '../../../gen/tailrace/v1/completion_service_pb.js';
import { Worker } from '../../../src/worker/index.js';
import { eventually } from '../../support/eventually.js';

let worker: Worker;
afterEach(() => worker.stop());

test('a server that cannot tell of a consumer is not left with a watch for each time it was asked', async () => {
  const watches: AbortSignal[] = [];
  const away = () => {
    throw new ConnectError('away', Code.Unavailable);
  };
  const transport = createRouterTransport(({ service }) => {
    service(AdminService, { getConsumer: away });
    service(CompletionService, {
      acquireConsumer: away,
      releaseConsumer: () => ({}),
      async *watchLog(_, { signal }) {
        watches.push(signal);
        yield { heartbeat: { cursor: 'here' } };
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
      },
    });
  });
  worker = new Worker({ url: '', transport, log: () => undefined, drainMs: 0 });
  await worker.consumer('followed', () => undefined, { rebuilds: true, waitMs: 0 }).start();
  await eventually(() => watches.length >= 2);
  await eventually(() => watches.filter(({ aborted }) => !aborted).length <= 1);
});
