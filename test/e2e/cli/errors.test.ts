/** What the command line says and ends with when something is refused, missing, forbidden, or not there. */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Role } from '../../../gen/tailrace/v1/namespace_pb.js';
import { direct } from '../../../src/direct.js';
import { ByHand } from '../../support/by-hand.js';
import { line, type Said } from '../../support/cli/line.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

let tailrace: TestTailrace;
let hand: ByHand;
let observer: string;

beforeAll(async () => {
  tailrace = await startTailrace();
  hand = new ByHand(tailrace);
  await hand.createOne({ requestId: 'once' });
  observer = (await tailrace.admin.createToken({ namespace: 'default', name: 'looks', roles: [Role.OBSERVER] })).secret;
});
afterAll(() => tailrace.stop());

const NOBODY = '01890a5d-ac96-7ab2-80e2-4536629c90de';

async function type(words: string, environment: Record<string, string> = {}, stdin = ''): Promise<Said> {
  return await line(words.split(' '), { environment: { TAILRACE_URL: tailrace.url, ...environment }, stdin });
}

function errorOf({ error }: Said): Record<string, unknown> {
  return (JSON.parse(error) as { error: Record<string, unknown> }).error;
}

describe('ends with 1', () => {
  it('when it is refused, and says what is at version what', async () => {
    await type('lanes pause emails');
    const said = await type('lanes resume emails --expected-version 7');
    expect(said).toMatchObject({ code: 1, out: '' });
    expect(said.error).toMatch(/^tailrace: VERSION_CONFLICT: .+\n {2}somebody else has changed it; it is at version 2/);
  });

  it('with every violation on a line of its own', async () => {
    const said = await type('executions create x --lane Ä --ttl 0s --priority 40000');
    expect(said.code).toBe(1);
    expect(said.error.split('\n').filter((text) => /^ {2}executions\[0\]\./.test(text)).length).toBeGreaterThan(1);
    const told = errorOf(await type('executions create x --lane Ä --ttl 0s --priority 40000 --json'));
    expect(told).toMatchObject({ code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD', exitCode: 1 });
    expect(told['violations']).toEqual(
      expect.arrayContaining([{ field: 'executions[0].ttl', description: expect.any(String) }]),
    );
  });

  it('when one of several is refused, and does the others', async () => {
    const said = await type(`dead-letters resolve ${NOBODY} ${NOBODY.replace('0de', '0df')} --as ignored`);
    expect(said).toMatchObject({ code: 1, out: '' });
    expect(said.error).toMatch(new RegExp(`^${NOBODY}: DEAD_LETTER_NOT_FOUND: `));
  });

  it('when what was awaited does not end in time', async () => {
    const id = await hand.createOne({ lane: 'nobody' });
    expect(await type(`executions await ${id} --for 50ms`)).toMatchObject({
      code: 1,
      error: 'the time was over first\n',
    });
  });
});

describe('ends with 2', () => {
  it.each([
    ['lans', "unknown command 'lans'\n(Did you mean lanes?)"],
    ['lanes lst', "unknown command 'lst'\n(Did you mean list?)"],
    ['lanes list --stat open', "unknown option '--stat'\n(Did you mean --state?)"],
    ['lanes list --state opn', 'did you mean open?'],
    ['verify --url http://127.0.0.1:1', 'verify asks no server, so --url says nothing to it'],
    ['lanes list extra', 'too many arguments'],
    ['lanes get', "missing required argument 'lane'"],
    ['lanes', 'Usage: tailrace lanes'],
    ['lanes list --limit 0', 'must be a whole number from 1 to 1000000; it is "0"'],
    ['lanes list --watch list', 'must be seconds, written --watch=5; it is "list"'],
    ['lanes list --all --limit 3', '--all and --limit contradict each other'],
    ['lanes list --timeout soon', 'must be a length of time such as 10s'],
    ['lanes update emails', 'nothing to change'],
    ['lanes update emails --rate 5', 'must be such as 100/1m; it is "5"'],
    ['executions list --since yesterday', 'must be a time such as 2030-01-31T12:00:00Z, or how long ago, such as 2h'],
    ['executions create x --input {', 'the content is not JSON'],
    ['executions create x --input-file /none', '/none cannot be read: ENOENT'],
    ['executions create x --input-file README.md', 'README.md is not JSON'],
    ['executions create x --input 1 --input-file -', 'give the content itself or a file, not both'],
    ['executions attempts', 'say of what: an execution, --flow, --lane or --type'],
    ['executions list --tag a', 'must be key=value; it is "a"'],
    ['subscriptions put -', 'standard input is not JSON'],
    ['subscriptions delete x', 'nobody can be asked here: say --yes'],
    ['dead-letters purge --yes', "required option '--closed-before <time>' not specified"],
    ['tokens create x', 'say what it may do: --role'],
    ['profile use none --profile', "option '-p, --profile <name>' argument missing"],
    ['lanes list --profile none', 'there is no profile "none"'],
    ['lanes list --url localhost:8233', 'the address of the server must be such as http://127.0.0.1:8233'],
    ['lanes list --token-file /none', 'the token cannot be read: ENOENT'],
    ['lanes list --cert README.md', '--cert and --key need each other'],
    ['completions tail --state queued', '--state must be one that executions end in'],
  ])('for %s', async (words, message) => {
    const said = await type(words);
    expect(said).toMatchObject({ code: 2, out: '' });
    expect(said.error).toContain(message);
  });

  it('and tells programs why', async () => {
    expect(errorOf(await type('lanes lst --json'))).toMatchObject({ reason: 'USAGE', exitCode: 2 });
    expect(errorOf(await type('lanes update emails --json'))).toMatchObject({
      reason: 'USAGE',
      message: 'nothing to change',
    });
  });

  it('for a document that is none of its kind, and says of which field', async () => {
    const said = await type('subscriptions put -', {}, '{"name":"x","filterr":{}}');
    expect(said).toMatchObject({
      code: 2,
      error: expect.stringMatching(/standard input is no SubscriptionSpec: .*filterr/),
    });
  });
});

describe('ends with 3', () => {
  it('when nobody answers', async () => {
    const said = await type('lanes list', { TAILRACE_URL: 'http://127.0.0.1:1' });
    expect(said).toMatchObject({ code: 3, out: '' });
    expect(said.error).toContain('no answer from http://127.0.0.1:1');
    expect(errorOf(await type('lanes list --url http://127.0.0.1:1 --json'))).toMatchObject({
      code: 'UNAVAILABLE',
      exitCode: 3,
    });
  });

  it('when the answer takes too long', async () => {
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    const said = await type(`server health --url http://127.0.0.1:${port} --timeout 200ms`);
    silent.close();
    expect(said).toMatchObject({ code: 3, error: expect.stringContaining('no answer from') });
  });
});

it.each([
  [`executions get ${NOBODY}`, 'EXECUTION_NOT_FOUND'],
  ['lanes get none', 'LANE_NOT_FOUND: '],
  ['consumers pause none', 'tailrace consumers list tells what there is'],
  ['events get none', 'no event of this id is known'],
  ['profile use none', 'there is no profile none'],
])('ends with 4 when there is no such thing: %s', async (words, message) => {
  expect(await type(words)).toMatchObject({ code: 4, error: expect.stringContaining(message) });
});

describe('ends with 5', () => {
  it('when the token is not good', async () => {
    const said = await type('lanes list', { TAILRACE_TOKEN: 'nonsense' });
    expect(said).toMatchObject({
      code: 5,
      error: expect.stringMatching(/^tailrace: INVALID_TOKEN: [\s\S]+--token-file/),
    });
  });

  it('when it may not do this', async () => {
    const environment = { TAILRACE_TOKEN: observer };
    expect(await type('lanes list', environment)).toMatchObject({ code: 0 });
    const said = await type('lanes pause emails', environment);
    expect(said).toMatchObject({ code: 5, error: expect.stringMatching(/^tailrace: ROLE_REQUIRED: /) });
    expect(await type('lanes list -n other', environment)).toMatchObject({
      code: 5,
      error: expect.stringMatching(/^tailrace: NAMESPACE_DENIED: /),
    });
  });
});

describe('ends with 6', () => {
  it('when a rule is broken', async () => {
    const broken = [
      { name: 'one-place', rule: 'stands once', violations: ['x', 'y\u001b[2J'], more: true },
      { name: 'other', rule: 'holds', violations: [], more: false },
    ];
    const host = { ...direct({}), verify: async () => broken };
    const said = await line(['verify'], { host });
    expect(said.code).toBe(6);
    expect(said.out).toMatch(
      /^BROKEN one-place: .*\nok {5}other[\s\S]*is broken by:\n {2}x\n {2}y�\[2J\n {2}and more\n\n1 of 2/,
    );
    const told = await line(['verify', '--json'], { host });
    expect([told.code, JSON.parse(told.out)]).toEqual([6, { ok: false, rules: broken }]);
  });

  it('when doctor finds a problem, but not for a warning', async () => {
    const findings = [{ name: 'clock', state: 'warning' as const, message: 'is late' }];
    const of = (found: typeof findings) => ({
      ...direct({}),
      doctor: async () => ({ schema: undefined, pending: [], servers: [], findings: found }),
    });
    expect(await line(['doctor'], { host: of(findings) })).toMatchObject({
      code: 0,
      out: 'WARNING clock: is late\n\n0 problems, 1 warnings\n',
    });
    const problem = { name: 'disk', state: 'problem' as never, message: 'is full' };
    expect(await line(['doctor'], { host: of([problem]) })).toMatchObject({
      code: 6,
      out: expect.stringMatching(/^PROBLEM disk/),
    });
  });

  it('with 1 when it cannot look at all', async () => {
    const environment = { DATABASE_URL: 'nonsense' };
    const said = await line(['verify'], { environment });
    expect(said).toMatchObject({ code: 1, error: expect.stringContaining('DATABASE_URL must be an address') });
  });
});
