/** `tailrace dead-letters redrive-many` at a terminal: it shows, asks, follows, and can be left or stopped. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import { RedriveState } from '../../../gen/tailrace/v1/redrive_pb.js';
import { ByHand } from '../../support/by-hand.js';
import { Line, line } from '../../support/cli/line.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

let tailrace: TestTailrace;
let hand: ByHand;

beforeAll(async () => {
  tailrace = await startTailrace();
  hand = new ByHand(tailrace);
});
afterAll(() => tailrace.stop());

const environment = () => ({ TAILRACE_URL: tailrace.url, NO_COLOR: '1' });
const words = (lane: string, more: string) => ['dead-letters', 'redrive-many', '--lane', lane, ...more.split(' ')];

async function fail(lane: string, count: number): Promise<void> {
  await hand.create(...Array.from({ length: count }, () => ({ lane, type: 'send' })));
  for (const claim of await hand.claim({ lanes: [{ lane }], maxExecutions: count })) {
    await hand.fail(claim, FailureClass.PERMANENT);
  }
}

const idIn = (text: string) => /redrive ([0-9a-f-]{36})/.exec(text)?.[1] ?? '';

it('shows what it would do and asks; no is no', async () => {
  await fail('asked', 2);
  const asks = new Line(words('asked', '--rate 5'), { environment: environment(), columns: 120 });
  await asks.says(
    /2 dead letters would be redriven at 5 per second[\s\S]*send +2[\s\S]*Redrive 2 dead letters\? \[y\/N\] $/,
  );
  asks.answer('n');
  expect(await asks.code).toBe(1);
  expect(asks.error).toContain('nothing was done');
  const { counts } = (await tailrace.admin.getLane({ lane: 'asked' })).lane ?? {};
  expect(counts?.queued ?? 0n).toBe(0n);
});

it('goes to its end after a yes, with a bar', async () => {
  await fail('redriven', 3);
  const asks = new Line(words('redriven', '--canary 0'), { environment: environment(), columns: 120 });
  await asks.says(/Redrive 3 dead letters/);
  asks.answer('yes');
  expect(await asks.code).toBe(0);
  expect(asks.error).toMatch(/\[[#.]{24}\] +\d+%/);
  expect(asks.out).toMatch(/^FINISHED: 3 of 3 started/);
});

it('Ctrl-C asks: it is only left, and goes on', async () => {
  await fail('left', 3);
  const left = new Line(words('left', '--canary 1 --yes'), { environment: environment(), columns: 120 });
  await left.says(/CANARY: 1 of 3 started/);
  left.interrupt();
  await left.says(/Stop the redrive \(s\), or only watching it \(w\)\? \[w\] $/);
  left.answer('');
  expect(await left.code).toBe(130);
  const redriveId = idIn(left.error);
  expect(left.error).toContain(`it goes on; tailrace dead-letters redrives get ${redriveId} shows it`);
  const { redrive } = await tailrace.deadLetters.getRedrive({ redriveId });
  expect(redrive?.state).toBe(RedriveState.CANARY);
  expect(await line(['dead-letters', 'redrives', 'stop', redriveId], { environment: environment() })).toMatchObject({
    code: 0,
  });
});

it('Ctrl-C asks: it is stopped', async () => {
  await fail('stopped', 3);
  const stopped = new Line(words('stopped', '--canary 1 --yes'), { environment: environment(), columns: 120 });
  await stopped.says(/CANARY: 1 of 3 started/);
  stopped.interrupt();
  await stopped.says(/Stop the redrive/);
  stopped.answer('s');
  expect(await stopped.code).toBe(1);
  expect(stopped.out).toMatch(/^STOPPED: 1 of 3 started.*\(stopped at its terminal\)/);
});

it('where nobody can answer, Ctrl-C leaves it, and a second one at the question too', async () => {
  await fail('piped', 2);
  const piped = new Line(words('piped', '--canary 1 --yes'), { environment: environment() });
  await piped.says(/CANARY: 1 of 2 started/);
  piped.interrupt();
  expect(await piped.code).toBe(130);
  await fail('twice', 2);
  const twice = new Line(words('twice', '--canary 1 --yes'), { environment: environment(), columns: 120 });
  await twice.says(/CANARY: 1 of 2 started/);
  twice.interrupt();
  await twice.says(/Stop the redrive/);
  twice.interrupt();
  expect(await twice.code).toBe(130);
});

it('can be started and left at once', async () => {
  await fail('start-only', 2);
  const { code, out } = await line(words('start-only', '--canary 0 --yes --start-only'), {
    environment: environment(),
  });
  expect(code).toBe(0);
  const { redrive } = await tailrace.deadLetters.getRedrive({ redriveId: out.trim() });
  expect(redrive?.selectedCount).toBe(2n);
});
