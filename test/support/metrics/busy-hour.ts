/** Lets a server see a little of everything that metrics tell of; answers how to end what is still open then. */
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import { StartPosition } from '../../../gen/tailrace/v1/log_pb.js';
import { ByHand, refusal, seconds } from '../by-hand.js';
import { ConsumersByHand } from '../consumers-by-hand.js';
import { Spending } from '../spending.js';
import type { TestTailrace } from '../tailrace.js';

export const LANE = 'mail';
/** Where the oldest is not the first in line. */
export const URGENCIES = 'urgencies';
/** What a label has to be escaped for. */
export const ODD = 'says "no" to a \\';

export async function busyHour(tailrace: TestTailrace): Promise<() => Promise<void>> {
  const { engine, completion } = tailrace;
  const hand = new ByHand(tailrace, 'busy');
  const ask = { lanes: [{ lane: LANE }], leaseDuration: seconds(600) };
  await hand.create({ lane: URGENCIES, priority: -5 });
  await hand.create(...Array.from({ length: 12 }, () => ({ lane: LANE })));
  await hand.create({ lane: LANE, delay: seconds(3_600) }, { lane: ODD });

  const claims = await hand.claim({ ...ask, maxExecutions: 8 });
  const [released, transient, permanent, ...done] = claims;
  if (!released || !transient || !permanent) throw new Error('too little was claimed');
  for (const claim of done) await hand.complete(claim);
  await hand.release(released);
  await hand.fail(transient, FailureClass.TRANSIENT, { retryDelay: seconds(0) });
  await hand.fail(permanent, FailureClass.PERMANENT);
  await refusal(engine.claimExecutions({ namespace: 'x'.repeat(300) }));

  const consumers = new ConsumersByHand(tailrace, 'busy');
  await consumers.consumer('far behind', { holdLog: true });
  const owner = await consumers.owner('far behind');
  await owner.fetch();

  const spending = new Spending(tailrace, 'spent lane');
  await spending.put({ tokens: 10n });
  await spending.report(await spending.running(), { tokens: 10n });
  await spending.queued();

  await hand.create({ lane: URGENCIES, priority: 5 });

  const leave = new AbortController();
  const { signal } = leave;
  const watch = completion.watchCompletions({ start: StartPosition.LATEST }, { signal })[Symbol.asyncIterator]();
  await watch.next();
  const waits = [
    watch.next().catch(() => undefined),
    engine
      .claimExecutions({ worker: hand.worker, lanes: [{ lane: 'empty' }], wait: seconds(60) }, { signal })
      .catch(() => undefined),
  ];
  return async () => {
    leave.abort();
    await Promise.all(waits);
  };
}
