/** Handlers of dead letters in the worker library. */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { DeadLetterResolution, DeadLetterState } from '../../gen/tailrace/v1/dead_letter_pb.js';
import { DeadLetterReason } from '../../gen/tailrace/v1/dead_letter_reason_pb.js';
import { PermanentError, type ReceivedDeadLetter, Worker } from '../../src/worker/index.js';
import { eventually } from '../support/eventually.js';
import { Workplace } from '../support/workplace.js';

const { OPEN, CLOSED } = DeadLetterState;

let place: Workplace;
let repairer: Worker | undefined;
beforeAll(async () => {
  place = await Workplace.start();
});
afterEach(async () => {
  await repairer?.stop();
  await place.endOfWork();
});
afterAll(() => place.stop());

const letterOf = async (tag: string) =>
  (await place.client.deadLetters.listDeadLetters({ filter: { tags: { of: tag } } })).deadLetters[0];

it('may run again with another input, resolve, leave open, or be given up; and is called once for each', async () => {
  const lane = 'repairs';
  const given: string[] = [];
  const decide: Readonly<Record<string, (letter: ReceivedDeadLetter) => unknown>> = {
    // Twice, as when it is tried again.
    mend: async (letter) => [
      await letter.redrive({ input: { whole: true }, note: 'mended' }),
      await letter.redrive({ input: { whole: true }, note: 'mended' }),
    ],
    drop: async (letter) => {
      for (let i = 0; i < 2; i++) await letter.resolve('ignored', 'no use');
    },
    leave: () => undefined,
    refuse: () => {
      throw new PermanentError('beyond repair');
    },
  };
  await place.work(lane, {
    fragile: ({ input }) => {
      if ((input.json() as { whole?: boolean }).whole) return;
      throw new PermanentError('it is broken');
    },
  });
  repairer = new Worker({ url: place.tailrace.url, lanes: ['desk'], log: () => {}, drainMs: 0 });
  repairer.onDeadLetter(
    (letter) => {
      const { how } = letter.input.json() as { how: string };
      expect(letter.letter).toMatchObject({ lane, type: 'fragile', reason: DeadLetterReason.PERMANENT });
      given.push(how);
      return decide[how]?.(letter);
    },
    { where: { lanes: [lane] } },
  );
  await repairer.start();
  const ways = Object.keys(decide);
  for (const how of ways) await place.client.create({ type: 'fragile', lane, input: { how }, tags: { of: how } });
  const expected = {
    mend: { state: CLOSED, resolution: DeadLetterResolution.REDRIVEN, redriveCount: 1, note: 'mended' },
    drop: { state: CLOSED, resolution: DeadLetterResolution.IGNORED, note: 'no use', version: 2n },
    leave: { state: OPEN, version: 1n },
    refuse: { state: CLOSED, resolution: DeadLetterResolution.HANDLER_FAILED, note: 'beyond repair', version: 2n },
  };
  await eventually(async () => {
    const letters = await Promise.all(ways.map(letterOf));
    return given.length >= ways.length && letters.filter((letter) => letter?.state === CLOSED).length === 3;
  });
  for (const [how, letter] of Object.entries(expected)) expect(await letterOf(how), how).toMatchObject(letter);
  expect(given.sort()).toEqual(ways.sort());
  const [subscription] = await place.client.subscriptions.list();
  expect(subscription?.spec).toMatchObject({ name: 'desk/dead-letter', filter: { lanes: [lane] } });
});

it('is told what is wrong with its options, and named once', () => {
  const worker = new Worker({ url: place.tailrace.url, lanes: ['desk'], log: () => {} });
  expect(() => worker.onDeadLetter(() => undefined, { lane: 'elsewhere' })).toThrow('none of the worker');
  worker.onDeadLetter(() => undefined);
  expect(() => worker.onDeadLetter(() => undefined)).toThrow('subscription desk/dead-letter');
});

it('can be subscribed by a client, for any worker', async () => {
  const asked = { name: 'by hand', type: 'repair', lane: 'by hand', deadLetters: { types: ['glass'] } };
  const { subscription, warnings } = await place.client.subscriptions.put(asked);
  expect(subscription?.spec?.filter).toMatchObject({ types: ['glass'] });
  expect(warnings).toEqual([]);
});
