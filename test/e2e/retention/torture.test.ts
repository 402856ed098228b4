/**
 * 18, for as long as one likes: random work in partitions of a second of which nearly nothing is kept, while a server that
 * retires is killed again and again. Nothing open is lost, every rule holds all the time, and the disk is given back.
 *
 * TEST_RETIREMENT_SECONDS: how long the work goes on; sizes are told as it does. TAILRACE_TEST_SEED makes the same choices again.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { monotonicMs, pause, wallMs } from '../../../src/runtime/clock.js';
import { seconds } from '../../support/by-hand.js';
import { Chance } from '../../support/chance.js';
import { EventsByHand } from '../../support/events-by-hand.js';
import { eventually } from '../../support/eventually.js';
import { MadeFlow } from '../../support/flows-by-hand.js';
import { driveRetirement, type LeftOpen, redrive, subscribeAll } from '../../support/retirement-drive.js';
import { broken, drops, KEEPS_LITTLE } from '../../support/retiring.js';
import { ServerProcess } from '../../support/server-process.js';
import { type Clients, clientsOf, startTailrace, type TestTailrace } from '../../support/tailrace.js';

const SECONDS = Number(process.env['TEST_RETIREMENT_SECONDS'] ?? 8);
const LIFE_MS = 3_000;
const LONG = { leaseDuration: seconds(60) };
const seed = Number(process.env['TAILRACE_TEST_SEED'] ?? wallMs() % 1_000_000);
const dice = new Chance(seed);
const OURS = new Set(['execution', 'attempt', 'outcome', 'frame_head', 'frame', 'event']);

let tailrace: TestTailrace;
beforeAll(async () => {
  tailrace = await startTailrace({ environment: KEEPS_LITTLE });
});
afterAll(async () => await tailrace.stop());

/** Bytes and partitions of the tables that are partitioned by id. */
async function sizes(): Promise<{ readonly bytes: number; readonly partitions: number; readonly all: number }> {
  const { tables, byteCount } = await tailrace.admin.getStorage({});
  const ours = tables.filter(({ table }) => OURS.has(table));
  return {
    bytes: ours.reduce((sum, table) => sum + Number(table.byteCount), 0),
    partitions: ours.reduce((sum, { partitionCount }) => sum + partitionCount, 0),
    all: Number(byteCount),
  };
}

/** Servers that die, and with them whatever they retire; one after another. */
async function dying(until: number, use: (clients: Clients | undefined) => void): Promise<number> {
  let kills = 0;
  while (monotonicMs() < until) {
    const server = await ServerProcess.start(tailrace.database, KEEPS_LITTLE);
    use(clientsOf(server.url));
    await pause(Math.min(LIFE_MS, Math.max(500, until - monotonicMs())));
    use(undefined);
    await server.kill();
    kills++;
  }
  return kills;
}

test(
  '18: nothing open is lost, whoever dies, and disk returns',
  async () => {
    const hand = new EventsByHand(tailrace);
    await subscribeAll(hand);
    const before = await sizes();
    const began = monotonicMs();
    const until = began + SECONDS * 1_000;
    let mortal: Clients | undefined;
    const watch = async () => {
      while (monotonicMs() < until) {
        await pause(Math.min(30_000, SECONDS * 200));
        const { bytes, partitions, all } = await sizes();
        const at = Math.round((monotonicMs() - began) / 1_000);
        console.log(
          `${at} s: ${(bytes / 2 ** 20).toFixed(1)} of ${(all / 2 ** 20).toFixed(1)} MiB in ${partitions} partitions`,
        );
        const rules = await broken(tailrace);
        expect(rules).toEqual([]);
      }
    };
    const [left, kills] = await Promise.all([
      driveRetirement({
        clients: () => (mortal && dice.percent(50) ? mortal : tailrace),
        dice,
        forMs: SECONDS * 1_000,
      }),
      dying(until, (clients) => {
        mortal = clients;
      }),
      watch(),
    ]);
    console.log(`seed ${seed}, ${left.steps} steps, ${kills} kills`);
    expect(kills).toBeGreaterThan(0);

    await drops(tailrace, 2);
    await goOn(hand, left);
    await endRest(hand);
    expect(await broken(tailrace)).toEqual([]);

    await drops(tailrace, 2);
    // As many partitions as ever, with little in them but what letters name.
    await eventually(async () => {
      const { bytes, partitions } = await sizes();
      return bytes / partitions < (2 * before.bytes) / before.partitions + 65_536;
    }, 60_000);
    expect(await broken(tailrace)).toEqual([]);
  },
  (SECONDS + 240) * 1_000,
);

/** What was open goes on as it was left. */
async function goOn(hand: EventsByHand, left: LeftOpen): Promise<void> {
  for (const [id, said] of left.suspended) {
    await hand.signal(id);
    const claim = await hand.claimNamed(id, LONG);
    expect(claim.input?.body.value).toBe(said);
    await hand.complete(claim);
  }
  for (const [id, said] of left.letters) await redrive(hand, id, said);
  for (const [made, said] of left.flows) {
    const flow = new MadeFlow(hand, made.id, made.lane, made.ids);
    await flow.complete('b');
    const { joinedInputs } = await flow.claim('last');
    expect(joinedInputs[0]?.payload?.body.value).toBe(said);
  }
  const waiting = new Set(left.events);
  while (waiting.size > 0) {
    const claims = await hand.claim({
      lanes: [{ lane: 'reacts later' }],
      maxExecutions: 100,
      wait: seconds(20),
      ...LONG,
    });
    expect(claims.length).toBeGreaterThan(0);
    for (const claim of claims) {
      waiting.delete(String(claim.input?.body.value));
      await hand.complete(claim);
    }
  }
}

/** What nobody had written down, since the answer was lost. */
async function endRest(hand: EventsByHand): Promise<void> {
  await eventually(async () => {
    const claims = await hand.claim({ maxExecutions: 100, wait: seconds(1), ...LONG });
    for (const claim of claims) await hand.complete(claim);
    return claims.length === 0;
  }, 60_000);
}
