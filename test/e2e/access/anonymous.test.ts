/** Where nobody has to show who they are, whoever does is taken at their word and no further; and how the first token comes. */
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Role } from '../../../gen/tailrace/v1/namespace_pb.js';
import { bootstrapSecret } from '../../../src/bootstrap.js';
import { makeSecret } from '../../../src/services/authentication/index.js';
import { refusal } from '../../support/by-hand.js';
import { holderOf, ROLES } from '../../support/guarded.js';
import { freshDatabase, type TestDatabase } from '../../support/postgres.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

describe('on the loopback address', () => {
  const file = join(tmpdir(), `tailrace-unneeded-${process.pid}`);
  let tailrace: TestTailrace;
  beforeAll(async () => {
    tailrace = await startTailrace({ environment: { TAILRACE_BOOTSTRAP_TOKEN_FILE: file } });
  });
  afterAll(async () => await tailrace.stop());

  test('nobody needs a token, and none is made', async () => {
    expect(existsSync(file)).toBe(false);
    expect((await tailrace.admin.listTokens({ namespace: '*', includeRevoked: true })).tokens).toEqual([]);
  });

  test('everybody may do everything, and is nobody', async () => {
    const { caller } = await tailrace.admin.getServerInfo({});
    expect(caller).toMatchObject({ name: 'anonymous', namespace: '*', roles: [...ROLES], tokenId: '' });
    const { token } = await tailrace.admin.createToken({ namespace: '*', name: 'first', roles: [Role.ADMIN] });
    expect(token).toMatchObject({ namespace: '*', actor: '' });
  });

  test('a token that is sent counts all the same', async () => {
    const { secret } = await tailrace.admin.createToken({ name: 'reader', roles: [Role.OBSERVER] });
    const reader = holderOf(tailrace.url, secret);
    expect((await refusal(reader.admin.pauseLane({ lane: 'default' }))).reason).toBe('ROLE_REQUIRED');
    expect((await refusal(reader.admin.listLanes({ namespace: 'other' }))).reason).toBe('NAMESPACE_DENIED');
    expect((await refusal(holderOf(tailrace.url, makeSecret().text).whoAmI())).reason).toBe('INVALID_TOKEN');
  });

  test('what a caller says of itself is recorded under the name that it has proved', async () => {
    const filter = { lanes: ['no such lane'] };
    const { secret } = await tailrace.admin.createToken({ name: 'desk', roles: [Role.OPERATOR] });
    const desk = holderOf(tailrace.url, secret);
    const started = [
      await tailrace.deadLetters.startRedrive({ filter, actor: 'Ann' }),
      await desk.deadLetters.startRedrive({ filter, actor: 'Ann' }),
      await desk.deadLetters.startRedrive({ filter, actor: 'desk' }),
      await desk.deadLetters.startRedrive({ filter }),
    ];
    expect(started.map(({ redrive }) => redrive?.actor)).toEqual(['Ann', 'desk (for Ann)', 'desk', 'desk']);
  });
});

describe('the first token', () => {
  let database: TestDatabase;
  let directory: string;
  let running: TestTailrace[];
  const said: string[] = [];
  beforeEach(async () => {
    database = await freshDatabase();
    directory = await mkdtemp(join(tmpdir(), 'tailrace-bootstrap-'));
    running = [];
    said.length = 0;
    return async () => {
      await Promise.all(running.map((one) => one.stop()));
      await database.drop();
      await rm(directory, { recursive: true });
    };
  });
  const start = async (file?: string, environment: Record<string, string> = {}) => {
    const one = await startTailrace({
      database,
      logger: pino({ level: 'info' }, { write: (line: string) => void said.push(line) }),
      environment: {
        TAILRACE_AUTHENTICATION: 'required',
        ...(file && { TAILRACE_BOOTSTRAP_TOKEN_FILE: join(directory, file) }),
        ...environment,
      },
    });
    running.push(one);
    return one;
  };
  const secretIn = async (file: string) => (await readFile(join(directory, file), 'utf8')).trim();
  const admins = async (url: string, secret: string) =>
    (await holderOf(url, secret).admin.listTokens({ namespace: '*' })).tokens;

  test('is made where there is none, for its owner alone, and kept', async () => {
    const one = await start('in/here/token');
    const secret = await secretIn('in/here/token');
    expect((await stat(join(directory, 'in/here/token'))).mode & 0o777).toBe(0o600);
    expect(await readdir(join(directory, 'in/here'))).toEqual(['token']);
    expect(await holderOf(one.url, secret).whoAmI()).toMatchObject({ name: 'bootstrap', roles: [Role.ADMIN] });
    expect(said.join()).toContain('in/here/token');
    expect(said.join()).not.toContain(secret.slice(26));
    const another = await start('in/here/token');
    expect(await admins(another.url, secret)).toHaveLength(1);
    // There is one already.
    await start('other');
    expect(await readdir(directory)).toEqual(['in']);
  });

  test('is one, however many servers start at once, with one file or with many', async () => {
    const files = ['shared', 'shared', 'a', 'b'];
    const servers = await Promise.all(files.map((file) => start(file)));
    const left = await readdir(directory);
    expect(left).toHaveLength(1);
    const secret = await secretIn(left[0] ?? '');
    for (const { url } of servers) expect(await admins(url, secret)).toHaveLength(1);
  });

  test('is not made of what is no secret, nor once more of one that was revoked', async () => {
    await writeFile(join(directory, 'bad'), 'password1');
    await expect(start('bad')).rejects.toThrow(/does not hold the secret of a token/);
    await expect(start('bad/below')).rejects.toThrow(/cannot be used: ENOTDIR/);
    const one = await start('good');
    const secret = await secretIn('good');
    const admin = holderOf(one.url, secret);
    const tokenId = (await admin.whoAmI())?.tokenId ?? '';
    await admin.admin.revokeToken({ namespace: '*', tokenId });
    const again = await start('good');
    expect((await refusal(holderOf(again.url, secret).whoAmI())).reason).toBe('INVALID_TOKEN');
    expect(said.join()).toContain('has ended');
  });

  test('is asked for where there is no file for it, and then comes from the database itself', async () => {
    const one = await start();
    expect(said.join()).toContain('tailrace bootstrap');
    const { database: direct } = one.running.engine;
    const secret = (await bootstrapSecret(direct)) ?? '';
    expect(await admins(one.url, secret)).toMatchObject([{ name: 'bootstrap', namespace: '*' }]);
    expect(await bootstrapSecret(direct)).toBeUndefined();
    const another = await bootstrapSecret(direct, true);
    expect(await admins(one.url, another ?? '')).toHaveLength(2);
  });

  test('is the only way in from beyond the loopback address', async () => {
    const one = await start('token', { TAILRACE_AUTHENTICATION: 'loopback', TAILRACE_HOST: '0.0.0.0' });
    expect((await refusal(one.admin.getServerInfo({}))).reason).toBe('INVALID_TOKEN');
    expect(await admins(one.url, await secretIn('token'))).toHaveLength(1);
  });
});
