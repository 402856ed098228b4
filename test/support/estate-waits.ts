/** The part of an estate that is about waits, limits, budgets and output; in lanes of its own. */
import { FrameMode } from '../../gen/tailrace/v1/frame_pb.js';
import { CountDistinct } from '../../gen/tailrace/v1/signal_pb.js';
import type { Estate } from './estate.js';
import { eventually } from './eventually.js';
import type { Clients } from './tailrace.js';

type Waits = Pick<Estate, 'suspended' | 'waitpoint' | 'resumed' | 'budget' | 'keyed' | 'unpaid'>;

/** Two of each that is listed. */
export async function makeWaits(clients: Clients, namespace: string, mark: string, secret: string): Promise<Waits> {
  const { engine, admin } = clients;
  const lane = `waits-${mark}`;
  const worker = { name: `worker-${mark}`, instanceId: `instance-${mark}` };
  const payload = { contentType: 'text/plain', body: { case: 'text' as const, value: `payload ${secret}` } };
  const make = async (more: object = {}) => {
    const executions = [{ lane, type: `type-${mark}`, input: payload, tags: { secret }, ...more }];
    const { results } = await engine.createExecutions({ namespace, executions });
    const [result] = results.map(({ result }) => (result.case === 'ok' ? result.value.executionId : ''));
    return result ?? '';
  };
  const hold = async (executionId: string) => {
    const leaseDuration = { seconds: 3_600n, nanos: 0 };
    const { claim } = await engine.claimExecution({ namespace, executionId, worker, leaseDuration });
    if (claim?.lease === undefined) throw new Error('a claim without a lease');
    const { leaseId, fencingToken } = claim.lease;
    return { executionId, leaseId, fencingToken };
  };
  const signal = async (executionId: string, name: string) => {
    const target = { case: 'execution' as const, value: { executionId } };
    return await engine.signalExecution({ namespace, target, name, payload, sourceId: `source ${secret}` });
  };

  for (const name of [`budget-${mark}`, `second-${mark}`]) {
    const attachments = [{ subject: { case: 'lane' as const, value: lane } }];
    await admin.putBudget({ namespace, budget: { name, limits: { coins: { hardLimit: 1_000n } }, attachments } });
  }
  await admin.putQuota({ namespace, lane, concurrencyLimit: 1_000 });
  await admin.putQuota({ namespace, concurrencyLimit: 10_000 });

  const parked: Pick<Waits, 'suspended' | 'waitpoint'>[] = [];
  for (let i = 0; i < 2; i++) {
    const lease = await hold(await make());
    const key = `door-${mark}`;
    const { waitpoint } = await engine.createWaitpoint({ namespace, lease, waitpoint: { key } });
    await signal(lease.executionId, 'early');
    const condition = { condition: { case: 'signal' as const, value: { name: 'go', waitpointKey: key } } };
    const { suspended } = await engine.suspendExecution({ namespace, lease, condition, note: `note ${secret}` });
    if (!suspended) throw new Error('what waits for another signal is not parked');
    parked.push({ suspended: lease.executionId, waitpoint: { key, token: waitpoint?.token ?? '' } });
  }

  // Its condition held at once, so it was told what satisfied it and goes on under its lease.
  const resumed = await hold(await make());
  for (const name of ['one', 'two']) await signal(resumed.executionId, name);
  const both = { case: 'count' as const, value: { count: 2, distinct: CountDistinct.SIGNALS } };
  await engine.suspendExecution({ namespace, lease: resumed, condition: { condition: both } });
  await engine.reportUsage({ namespace, lease: resumed, usage: { coins: 1n }, idempotencyKey: `usage ${secret}` });
  await engine.appendFrames({
    namespace,
    lease: resumed,
    frames: [
      { type: 'text', payload },
      { type: 'text', payload },
      { mode: FrameMode.SUMMARY, payload: { body: { case: 'text', value: JSON.stringify({ secret }) } } },
      { mode: FrameMode.BEST_EFFORT, type: 'text', payload },
    ],
  });

  await admin.updateLane({ namespace, lane: `keyed-${mark}`, settings: { defaultKeyLimit: 1 } });
  const keyed = { lane: `keyed-${mark}`, concurrencyKey: `key-${mark}` };
  await make(keyed);
  const blocked = await make(keyed);
  const attachments = [{ subject: { case: 'lane' as const, value: `unpaid-${mark}` } }];
  const nothing = { name: `nothing-${mark}`, limits: { coins: { hardLimit: 0n } }, attachments };
  const unpaid = await make({ lane: `unpaid-${mark}` });
  await admin.putBudget({ namespace, budget: nothing });
  const isHeldBack = async () =>
    (await admin.getExecution({ namespace, executionId: unpaid })).execution?.block !== undefined;
  await eventually(isHeldBack);

  const [first] = parked;
  if (first === undefined) throw new Error('nothing is parked');
  return { ...first, resumed, budget: `budget-${mark}`, keyed: blocked, unpaid };
}
