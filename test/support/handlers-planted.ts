/** Handlers of dead letters for the rules to hold over, and what breaks each rule that is about them. */
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { seconds } from './by-hand.js';
import type { Desk } from './desk.js';

/** One letter whose handler gave up, and one whose handler runs. */
export async function makeHandlers({ admin, hand }: Desk): Promise<void> {
  const [lane, handlers] = ['handled', 'handlers'];
  const filter = { kinds: [LogEntryKind.DEAD_LETTER_OPENED], lanes: [lane] };
  await admin.putSubscription({ subscription: { name: handlers, lane: handlers, type: 'handle', filter } });
  for (const givesUp of [true, false]) {
    await hand.fail(await hand.claimNamed(await hand.createOne({ lane })), FailureClass.PERMANENT);
    const claim = await hand.claimOne({ lanes: [{ lane: handlers }], leaseDuration: seconds(600) });
    if (givesUp) await hand.fail(claim, FailureClass.PERMANENT);
  }
}

export const HANDLER_PLANTS: Readonly<Record<string, readonly string[]>> = {
  'handed-out-once': [
    `insert into tailrace.execution
       select (jsonb_populate_record(x, jsonb_build_object('id', tailrace.uuid_v7()))).*
       from tailrace.execution x where x.handles is not null limit 1`,
    'update tailrace.execution set flow = (select id from tailrace.flow limit 1) where handles is not null',
    'update tailrace.subscription set of_letters = false where of_letters',
  ],
  'handlers-are-done-with': [
    `update tailrace.dead_letter set state = 1, version = 1, resolution = null, closed_at = null where resolution = 4`,
  ],
  'letters-are-for-letters': [
    `insert into tailrace.subscription_lead select namespace, 'made', id from tailrace.subscription where of_letters`,
    'update tailrace.subscription set state = 2 where of_letters',
  ],
};
