/** On the embedded database tokens work without a setting, and go on working; the key is beside the database. */
import { chmod, mkdtemp, readdir, readFile, realpath, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SignalEffect } from '../../gen/tailrace/v1/signal_pb.js';
import { readConfig } from '../../src/config.js';
import { serve } from '../../src/serve.js';
import { refusal } from '../support/by-hand.js';
import { HeldExecution } from '../support/held-execution.js';
import { type Clients, clientsOf } from '../support/tailrace.js';

let root: string;
let directory: string;
beforeAll(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'embedded-secrets-')));
  await chmod(root, 0o755);
  directory = join(root, 'data');
});
afterAll(() => rm(root, { recursive: true }));

/** A server of its own for what is done. */
async function during<T>(body: (clients: Clients) => Promise<T>, settings: Record<string, string> = {}): Promise<T> {
  const config = readConfig({
    TAILRACE_DATA_DIR: directory,
    TAILRACE_PORT: '0',
    TAILRACE_DRAIN_SECONDS: '1',
    ...settings,
  });
  const running = await serve(config, pino({ level: 'silent' }));
  try {
    return await body(clientsOf(running.url));
  } finally {
    await running.stop();
  }
}

function signal({ engine }: Clients, token: string) {
  return engine.signalExecution({ target: { case: 'waitpointToken', value: token }, name: 'go' });
}

test('a token outlives the server; without its key, or with another one, it is refused until it is there again', async () => {
  const token = await during(async (clients) => {
    expect((await clients.admin.getServerInfo({})).warnings).toEqual([]);
    return await (await HeldExecution.make(clients)).token('door');
  });
  const file = join(directory, 'secrets-key');
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(await readdir(directory)).not.toContain('secrets-key.new');
  expect((await during((clients) => signal(clients, token))).effect).toBe(SignalEffect.BUFFERED);

  const key = await readFile(file, 'utf8');
  await rm(file);
  const refused = await during((clients) => refusal(signal(clients, token)));
  expect(refused).toMatchObject({ reason: 'SECRETS_UNAVAILABLE', metadata: { why: 'other_key' } });
  expect(await readFile(file, 'utf8')).not.toBe(key);

  // A setting goes before the file.
  const restored = await during((clients) => signal(clients, token), { TAILRACE_SECRETS_KEY: key.trim() });
  expect(restored.effect).toBe(SignalEffect.BUFFERED);
});
