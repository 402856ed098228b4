/** From a server that lets nobody in to tokens for everybody: bootstrap, a profile, TLS, tokens, namespaces. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { makeAuthority } from '../../support/certificates.js';
import { line, type Said } from '../../support/cli/line.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

const authority = makeAuthority();
const own = authority.issue('server');

let tailrace: TestTailrace;
let directory: string;

const at = (name: string) => join(directory, name);

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'getting-in-'));
  writeFileSync(at('ca.pem'), authority.cert);
  writeFileSync(at('cert.pem'), own.cert);
  writeFileSync(at('key.pem'), own.key);
  const environment = {
    TAILRACE_AUTHENTICATION: 'required',
    TAILRACE_TLS_CERT: at('cert.pem'),
    TAILRACE_TLS_KEY: at('key.pem'),
  };
  tailrace = await startTailrace({ environment });
});
afterAll(async () => {
  rmSync(directory, { recursive: true });
  await tailrace.stop();
});

async function type(words: string, stdin = ''): Promise<Said> {
  const { url, schema } = tailrace.database;
  const environment = { XDG_CONFIG_HOME: directory, DATABASE_URL: url, TAILRACE_SCHEMA: schema };
  return await line(words.split(' '), { environment, stdin });
}

it('lets the first admin in, who lets others in', async () => {
  expect(await type(`lanes list --url ${tailrace.url}`)).toMatchObject({ code: 3 });
  expect(await type(`lanes list --url ${tailrace.url} --ca ${at('ca.pem')}`)).toMatchObject({
    code: 5,
    error: expect.stringContaining('INVALID_TOKEN'),
  });
  expect(await type(`server health --url ${tailrace.url} --ca ${at('ca.pem')}`)).toMatchObject({ code: 0 });

  const first = await type('bootstrap');
  expect(first).toMatchObject({ code: 0, out: expect.stringMatching(/^tr_\S+\n$/) });
  expect(await type('bootstrap')).toMatchObject({
    code: 1,
    out: '',
    error: expect.stringContaining('there is an admin token'),
  });
  const add = `profile add admin --url ${tailrace.url} --ca ${at('ca.pem')} --token-stdin`;
  expect(await type(add, first.out)).toMatchObject({ code: 0 });
  const { out } = await type('server info --json');
  expect(JSON.parse(out).caller).toMatchObject({ name: 'bootstrap', namespace: '*', roles: ['ROLE_ADMIN'] });
});

it('makes namespaces, and changes one setting of them without the others', async () => {
  expect(await type('namespaces put acme --keep-executions 90d --max-hops 7')).toMatchObject({ code: 0 });
  expect(await type('namespaces put acme --description Acme')).toMatchObject({ code: 0 });
  const of = async () => {
    const { items } = JSON.parse((await type('namespaces list --json')).out) as { items: { namespace: string }[] };
    return items.find(({ namespace }) => namespace === 'acme');
  };
  const retention = { executions: '7776000s' };
  expect(await of()).toMatchObject({ description: 'Acme', settings: { maxHops: 7, retention } });
  expect(await type('namespaces put acme --max-hops 9 --expected-version 1')).toMatchObject({ code: 1 });
  expect(await type('namespaces put acme --reset')).toMatchObject({ code: 0 });
  expect(await of()).not.toMatchObject({ settings: { retention } });
});

it('keeps a secret in a file, and a token that is revoked out', async () => {
  const file = at('worker.token');
  expect(await type(`tokens create mailer --role worker,client -n acme --secret-file ${file}`)).toMatchObject({
    code: 0,
  });
  expect(statSync(file).mode & 0o777).toBe(0o600);
  await type(`profile add worker --url ${tailrace.url} --ca ${at('ca.pem')} --token-file ${file}`);
  expect(await type('executions create hello -p worker')).toMatchObject({ code: 0 });
  expect(await type('lanes pause default -p worker')).toMatchObject({
    code: 5,
    error: expect.stringContaining('ROLE_REQUIRED'),
  });

  const again = await type(`tokens create mailer --role worker -n acme --secret-file ${file}`);
  expect(again).toMatchObject({ code: 2, error: expect.stringContaining('so the token was revoked') });
  expect(readFileSync(file, 'utf8')).toMatch(/^tr_/);

  const { items } = JSON.parse((await type('tokens list -n acme --json')).out) as { items: { tokenId: string }[] };
  expect(items).toHaveLength(1);
  expect(await type(`tokens revoke ${items[0]?.tokenId} -n acme --yes`)).toMatchObject({ code: 0 });
  expect(await type('executions create hello -p worker')).toMatchObject({ code: 5 });
  expect((await type('tokens list -n acme --revoked --json')).out).toContain('revokeTime');
});
