/** What goes on until somebody ends it: tails, watches, waits; over lost connections, ended by a count or by Ctrl-C. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import { ByHand, seconds } from '../../support/by-hand.js';
import { Line, line } from '../../support/cli/line.js';
import { eventually } from '../../support/eventually.js';
import { FaultProxy } from '../../support/fault-proxy.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

let tailrace: TestTailrace;
let hand: ByHand;

beforeAll(async () => {
  tailrace = await startTailrace();
  hand = new ByHand(tailrace);
});
afterAll(() => tailrace.stop());

const environment = () => ({ TAILRACE_URL: tailrace.url });
const start = (words: string, columns?: number) =>
  new Line(words.split(' '), {
    environment: { ...environment(), NO_COLOR: '1' },
    ...(columns !== undefined && { columns }),
  });

it('a tail tells what happens from now on, and ends by Ctrl-C with 130 and where to go on', async () => {
  const before = await hand.createOne({ lane: 'tailed' });
  const filter = { executionId: before };
  await eventually(async () => (await tailrace.admin.listLogEntries({ filter })).entries.length > 0);
  const cursor = JSON.parse((await line(['server', 'info', '--json'], { environment: environment() })).out).headCursor;
  const tail = start(`log tail --lane tailed --kind execution-created --from ${cursor}`);
  const after = await hand.createOne({ lane: 'tailed' });
  await tail.says(new RegExp(after));
  expect(tail.out).not.toContain(before);
  tail.interrupt();
  expect(await tail.code).toBe(130);
  const [, next = ''] = /go on later with --from (\S+)/.exec(tail.error) ?? [];
  const third = await hand.createOne({ lane: 'tailed' });
  const again = await line(['log', 'tail', '--lane', 'tailed', '--from', next, '--limit', '1', '--json'], {
    environment: environment(),
  });
  expect([again.code, JSON.parse(again.out).executionId]).toEqual([0, third]);
});

it('a tail survives a lost connection without a gap and without a repeat', async () => {
  const { proxy, url } = await FaultProxy.before(tailrace.url);
  const tail = new Line(
    ['log', 'tail', '--lane', 'cut', '--kind', 'execution-created', '--json', '--from', 'earliest'],
    {
      environment: { TAILRACE_URL: url },
    },
  );
  const made = [await hand.createOne({ lane: 'cut' })];
  await tail.says(new RegExp(made[0] ?? ''));
  proxy.cut();
  await tail.says(/the connection is lost/);
  made.push(await hand.createOne({ lane: 'cut' }));
  await tail.says(new RegExp(made[1] ?? ''));
  tail.interrupt();
  expect(await tail.code).toBe(130);
  expect(
    tail.out
      .trimEnd()
      .split('\n')
      .map((text) => JSON.parse(text).executionId),
  ).toEqual(made);
  await proxy.close();
});

it('a flow is watched to its end, which decides the exit code', async () => {
  const execution = { type: 'work', lane: 'watched' };
  const { flowId, executionIds } = await tailrace.engine.createFlow({
    flow: {},
    members: [{ localName: 'one', execution }],
  });
  const watch = start(`flows watch ${flowId}`);
  await watch.says(/is ACTIVE/);
  await hand.complete(await hand.claimNamed(executionIds['one'] ?? ''));
  expect(await watch.code).toBe(0);
  expect(watch.out).toMatch(/EXECUTION_SUCCEEDED[\s\S]*is SUCCEEDED\n$/);
});

it('what is awaited decides the exit code, however long it takes', async () => {
  const [good, bad] = [await hand.createOne({ lane: 'awaited' }), await hand.createOne({ lane: 'awaited' })];
  const both = start(`executions await ${good} ${bad}`);
  const any = start(`executions await ${good} ${bad} --any`);
  await hand.complete(await hand.claimNamed(good));
  expect(await any.code).toBe(0);
  await hand.fail(await hand.claimNamed(bad), FailureClass.PERMANENT);
  expect(await both.code).toBe(1);
  expect(both.out).toMatch(new RegExp(`${good} +work +SUCCEEDED[\\s\\S]*${bad} +work +FAILED +PERMANENT .*it broke`));
});

it('a wait is ended by Ctrl-C', async () => {
  const id = await hand.createOne({ lane: 'nobody' });
  const wait = start(`executions await ${id}`);
  wait.interrupt();
  expect(await wait.code).toBe(130);
});

it('--watch looks again: below each other in a pipe, in place on a terminal, as lines in JSON', async () => {
  const id = await hand.createOne({ lane: 'looked-at' });
  const ways = [start(`executions get ${id} --watch=0.1`), start(`executions get ${id} -w 0.1`, 80)];
  const json = start(`executions list --lane looked-at --watch=0.1 --json`);
  await Promise.all([...ways.map((way) => way.says(/state +QUEUED/)), json.says(/QUEUED/)]);
  await hand.claimNamed(id, { leaseDuration: seconds(60) });
  await Promise.all([...ways.map((way) => way.says(/state +RUNNING/)), json.says(/RUNNING/)]);
  for (const way of [...ways, json]) way.interrupt();
  expect(await Promise.all([...ways, json].map(({ code }) => code))).toEqual([130, 130, 130]);
  expect(ways[0]?.out).not.toContain('\u001b');
  expect(ways[1]?.out).toContain('\u001b[H\u001b[2J');
  expect(
    json.out
      .trimEnd()
      .split('\n')
      .map((text) => JSON.parse(text).items.length),
  ).toContain(1);
});

it('lists go over pages: some, then from there on, then all', async () => {
  await hand.create(...Array.from({ length: 7 }, () => ({ lane: 'pages' })));
  const list = async (...more: string[]) => {
    const { out } = await line(['executions', 'list', '--lane', 'pages', '--json', ...more], {
      environment: environment(),
    });
    return JSON.parse(out) as { items: { executionId: string }[]; nextPageToken: string };
  };
  const all = (await list('--all')).items.map(({ executionId }) => executionId);
  const first = await list('--limit', '3');
  const rest = await list('--page-token', first.nextPageToken);
  expect(all).toHaveLength(7);
  expect([...first.items, ...rest.items].map(({ executionId }) => executionId)).toEqual(all);
  expect(rest.nextPageToken).toBe('');
  const told = await line(['executions', 'list', '--lane', 'pages', '--limit', '3'], { environment: environment() });
  expect(told.error).toBe(`there is more: --all, or --page-token ${first.nextPageToken}\n`);
});

it('a table fits the terminal, and is whole in a pipe; nothing in it moves the cursor', async () => {
  const type = `a-rather-long-type-${'x'.repeat(90)}`;
  const id = await hand.createOne({ lane: 'wide', type });
  const claim = await hand.claimNamed(id);
  const failure = { failureClass: FailureClass.PERMANENT, message: 'it\u001b[2J broke\nbadly' };
  await hand.fail(claim, FailureClass.PERMANENT, { failure });
  const words = ['executions', 'list', '--lane', 'wide'];
  const narrow = await line(words, { environment: { ...environment(), NO_COLOR: '1' }, columns: 120 });
  const lines = narrow.out.trimEnd().split('\n');
  expect(Math.max(...lines.map((text) => text.length))).toBeLessThanOrEqual(120);
  expect(narrow.out).toContain(id);
  expect(narrow.out).toMatch(/a-rather-\S*…/);
  expect(narrow.out).not.toContain('\u001b');
  const colored = await line(words, { environment: environment(), columns: 120 });
  expect(colored.out).toContain('\u001b[31mFAILED');
  const piped = await line(words, { environment: environment() });
  expect(piped.out).toContain(type);
  expect(piped.out).toContain('it�[2J broke badly');
  expect((await line([...words, '--absolute'], { environment: environment() })).out).toMatch(
    /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/,
  );
});
