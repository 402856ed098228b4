/** Dead letters over the generated clients: work that is given up, and the desk where it waits. */
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { inputOf } from '../content.js';
import { leaseOf, TailraceCalls } from './tailrace-calls.js';

const AT_ONCE = 500;

export class TailraceLetters extends TailraceCalls {
  /** So many executions of this type, in the lane of that name, given up with messages of so many kinds. */
  async giveUp(type: string, count: number, causes: number): Promise<void> {
    for (let made = 0; made < count; made += AT_ONCE) {
      const executions = Array.from({ length: Math.min(AT_ONCE, count - made) }, (_, i) => ({
        ...{ type, lane: type, tags: { tenant: `tenant ${i % 10}` } },
        input: { body: { case: 'text' as const, value: inputOf(made + i) } },
      }));
      await this.create(executions);
    }
    let failed = 0;
    while (failed < count) {
      const claims = await this.claimOnce({ type, lane: type, size: AT_ONCE });
      const reports = claims.map((claim, i) => ({
        lease: leaseOf(claim),
        failure: {
          failureClass: FailureClass.PERMANENT,
          message: `${CAUSES[((failed + i) % causes) % CAUSES.length]} ${words(((failed + i) % causes) / CAUSES.length)} of ${failed + i}`,
        },
      }));
      await this.engine.failExecutions({ reports });
      failed += claims.length;
    }
  }
}

const CAUSES = [
  'no answer from the bank',
  'the address is unknown',
  'the card was refused',
  'the file is empty',
  'no such user',
];
const WORDS = ['red', 'green', 'blue', 'white', 'black', 'gray', 'brown', 'pink', 'gold', 'silver'];

/** Numbers are masked in fingerprints; words are not. */
function words(n: number): string {
  return WORDS[Math.floor(n) % WORDS.length] ?? '';
}
