/** Which server, as whom: what comes first, and that a secret stays with its server. */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type AccessFlags, accessOf } from '../../../src/cli/access.js';
import { ProfileFile } from '../../../src/cli/profile-file.js';
import { readClientSettings } from '../../../src/config/client.js';
import { line } from '../../support/cli/line.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'access-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const access = (flags: AccessFlags = {}, environment: Record<string, string> = {}) =>
  accessOf(flags, readClientSettings({ XDG_CONFIG_HOME: directory, ...environment }));

const profile = async (words: string, stdin = '', environment: Record<string, string> = {}) =>
  await line(['profile', ...words.split(' ')], { environment: { XDG_CONFIG_HOME: directory, ...environment }, stdin });

const file = (name: string, content: string) => {
  writeFileSync(join(directory, name), content);
  return join(directory, name);
};

it('needs nothing', async () => {
  expect(await access()).toEqual({ url: 'http://127.0.0.1:8233', namespace: '', token: undefined, tls: {} });
});

it('takes flags before the environment, and that before the profile in use', async () => {
  await profile('add one --url http://one:1 --namespace of-one --token-stdin', 'secret-of-one\n');
  expect(await access()).toMatchObject({ url: 'http://one:1', namespace: 'of-one', token: 'secret-of-one' });
  const environment = { TAILRACE_URL: 'http://env:1', TAILRACE_NAMESPACE: 'of-env', TAILRACE_TOKEN: 'secret-of-env' };
  expect(await access({}, environment)).toMatchObject({
    url: 'http://env:1',
    namespace: 'of-env',
    token: 'secret-of-env',
  });
  const flags = { url: 'http://flag:1', namespace: 'of-flag', tokenFile: file('token', ' secret-of-flag\n') };
  const { url, namespace } = flags;
  expect(await access(flags, environment)).toMatchObject({ url, namespace, token: 'secret-of-flag' });
});

describe('a secret stays with its server', () => {
  it('of a profile, when the address comes from elsewhere', async () => {
    await profile('add one --url http://one:1 --token-stdin', 'secret');
    expect((await access({ url: 'http://elsewhere:1' })).token).toBeUndefined();
    expect((await access({}, { TAILRACE_URL: 'http://elsewhere:1' })).token).toBeUndefined();
    expect((await access({ url: 'http://one:1' })).token).toBe('secret');
  });

  it('of the environment, when a profile is named', async () => {
    await profile('add one --url http://one:1');
    const environment = { TAILRACE_URL: 'http://env:1', TAILRACE_TOKEN: 'secret' };
    expect(await access({ profile: 'one' }, environment)).toMatchObject({ url: 'http://one:1', token: undefined });
  });
});

describe('profiles', () => {
  it('are kept in a file that only its owner can read, and listed without their secrets', async () => {
    expect(await profile('add one --url http://one:1 --token-stdin', 'very-secret')).toMatchObject({ code: 0 });
    const { path } = new ProfileFile(join(directory, 'tailrace'));
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(directory, 'tailrace')).mode & 0o777).toBe(0o700);
    const [people, programs] = [await profile('list'), await profile('list --json')];
    expect(people.out + programs.out).not.toContain('very-secret');
    expect(JSON.parse(programs.out)).toEqual({
      items: [{ name: 'one', current: true, url: 'http://one:1', hasToken: true }],
      nextPageToken: '',
    });
  });

  it('take their token from a file or a variable when it is used', async () => {
    const path = file('token', 'first');
    await profile(`add filed --url http://one:1 --token-file ${path}`);
    writeFileSync(path, 'second');
    expect((await access({ profile: 'filed' })).token).toBe('second');
    await profile('add named --url http://one:1 --token-variable MY_TOKEN');
    expect((await access({ profile: 'named' }, { MY_TOKEN: 'third' })).token).toBe('third');
    await expect(access({ profile: 'named' })).rejects.toThrow('from MY_TOKEN, which is not set');
  });

  it('are used, changed and forgotten by name', async () => {
    await profile('add one --url http://one:1');
    await profile('add two --url http://two:1');
    expect((await access()).url).toBe('http://one:1');
    await profile('use two');
    expect((await access()).url).toBe('http://two:1');
    expect((await access({}, { TAILRACE_PROFILE: 'one' })).url).toBe('http://one:1');
    await profile('add two --url http://three:1 --namespace n');
    expect(await access()).toMatchObject({ url: 'http://three:1', namespace: 'n' });
    await profile('remove two --yes');
    expect((await access()).url).toBe('http://127.0.0.1:8233');
    await expect(access({ profile: 'on' })).rejects.toThrow('there is no profile "on"; did you mean one?');
  });

  it.each([
    ['add one', 'say where the server is: --url'],
    ['add one --url ftp://one', 'say where the server is: --url'],
    ['add one --url http://one --token-stdin', 'standard input held no secret'],
    [
      'add one --url http://one --token-variable A --token-file b',
      'say one of --token-file, --token-stdin and --token-variable',
    ],
    ['remove one', 'there is no profile one'],
  ])('%s is refused', async (words, message) => {
    const { code, error } = await profile(words);
    expect(code).toBeGreaterThan(0);
    expect(error).toContain(message);
  });

  it('say what is wrong with their file', async () => {
    await profile('add one --url http://one:1');
    writeFileSync(join(directory, 'tailrace', 'config.json'), '{');
    expect(await profile('list')).toMatchObject({
      code: 2,
      error: expect.stringContaining('is not a file of profiles'),
    });
  });
});

it('refuses files that are none, and certificates without TLS', async () => {
  await expect(access({ tokenFile: join(directory, 'none') })).rejects.toThrow('the token cannot be read: ENOENT');
  await expect(access({ tokenFile: file('empty', '\n') })).rejects.toThrow('does not hold the secret of a token');
  await expect(access({ ca: file('ca', 'pem') })).rejects.toThrow('need an https address');
  await expect(access({ url: 'https://one', cert: file('cert', 'pem') })).rejects.toThrow('need each other');
  const tls = { ca: file('ca', 'a'), cert: file('cert', 'c'), key: file('key', 'k') };
  expect((await access({ url: 'https://one', ...tls })).tls).toEqual({
    ca: Buffer.from('a'),
    cert: Buffer.from('c'),
    key: Buffer.from('k'),
  });
});
