/** What commands of the command line use up, made through the API. */
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import { Role } from '../../../gen/tailrace/v1/namespace_pb.js';
import { ByHand, leaseOf, seconds, text } from '../by-hand.js';
import type { Clients } from '../tailrace.js';
import type { Fresh } from './cases.js';

export function freshIn(clients: Clients, namespace: string, mark: string): Fresh {
  const hand = new ByHand(clients, 'fresh', 'fresh', namespace);
  const { engine, deadLetters, admin } = clients;
  const running = async (lane: string) => {
    const executionId = await hand.createOne({ lane, input: text('{}') });
    return await hand.claimNamed(executionId, { leaseDuration: seconds(600) });
  };
  return {
    queued: () => hand.createOne({ lane: 'fresh' }),
    running: async () => (await running('fresh')).executionId,
    async parked() {
      const claim = await running('fresh');
      const condition = { condition: { case: 'operatorOnly' as const, value: {} } };
      await engine.suspendExecution({ namespace, lease: leaseOf(claim), condition });
      return claim.executionId;
    },
    async flow() {
      const execution = { type: 'work', lane: 'fresh' };
      const { flowId } = await engine.createFlow({ namespace, flow: {}, members: [{ localName: 'one', execution }] });
      await engine.cancelFlow({ namespace, flowId, wait: seconds(10) });
      return flowId;
    },
    /** The only one that is open in its lane. */
    async letter() {
      const lane = `letters-${mark}`;
      const { deadLetters: open } = await deadLetters.listDeadLetters({ namespace, filter: { lanes: [lane] } });
      const before = open.map(({ deadLetterId }) => ({ deadLetterId }));
      if (before.length > 0) await deadLetters.resolveDeadLetters({ namespace, deadLetters: before, resolution: 2 });
      const { deadLetterId } = await hand.fail(await running(lane), FailureClass.PERMANENT);
      return deadLetterId;
    },
    async token() {
      const { token } = await admin.createToken({ namespace, name: 'fresh', roles: [Role.OBSERVER] });
      return token?.tokenId ?? '';
    },
  };
}
