/** What is before an execution in the order of its key. */
import { HoldKind } from '../../../../gen/tailrace/v1/explain_pb.js';
import { type ExecutionRow, ORDER_AHEAD_COUNTED, type OrderAhead } from '../../../repository/inspection/index.js';
import type { Hold } from './hold.js';

/** Of one that waits for its ordering key. Right after its place was given up, nobody may have moved into it yet. */
export function orderHolds(row: ExecutionRow, order: OrderAhead): Hold[] {
  const { holder, first, letter, redriving } = order;
  const dead = letter === null || (redriving === true && holder !== null) ? [] : [deadHeadHold(row, order, letter)];
  if (holder === null && dead.length > 0) return dead;
  const subject = holder ?? first ?? row.id;
  const who =
    holder === null ? 'whose next one moves up now' : `whose execution ${holder} goes first and has not ended yet`;
  return [
    {
      kind: HoldKind.ORDERING_KEY,
      subject,
      message: `It waits for its ordering key ${row.ordering_key}, ${who}; of those that wait it is ${placeOf(order)}.`,
    },
    ...dead,
  ];
}

function deadHeadHold(row: ExecutionRow, order: OrderAhead, letter: string): Hold {
  return {
    kind: HoldKind.DEAD_HEAD,
    subject: letter,
    message:
      `Its ordering key ${row.ordering_key} is blocked by execution ${order.dead}, which gave up before it; when dead letter ` +
      `${letter} is redriven with success or resolved, the next one goes on. Of those that wait it is ${placeOf(order)}.`,
  };
}

function placeOf({ ahead }: OrderAhead): string {
  return ahead > ORDER_AHEAD_COUNTED ? `behind more than ${ORDER_AHEAD_COUNTED} others` : `number ${ahead + 1}`;
}
