/**
 * Where a test run gets its Postgres: an address that was given, a container, the embedded binaries, those of the
 * system. One server per run and version, without fsync, ended with the run even when that is killed.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chooseAccount } from '../../src/embedded/account.js';
import { type Binaries, binariesIn, embeddedBinaries } from '../../src/embedded/binaries.js';
import { makeCluster } from '../../src/embedded/cluster.js';
import { clearLeftover } from '../../src/embedded/leftover.js';
import { takeDirectory } from '../../src/embedded/owner.js';
import { freePort } from '../../src/embedded/port.js';
import { startPostmaster } from '../../src/embedded/postmaster.js';
import { wallMs } from '../../src/runtime/clock.js';

export interface TestServer {
  /** A superuser's address of the maintenance database. */
  readonly url: string;
  readonly origin: string;
  /** True when the server, and what tests leave in it, is there after the run. */
  readonly outlives: boolean;
  stop(): Promise<void>;
}

/** Speed over safety: nobody needs this data after a crash. */
const SETTINGS = { fsync: 'off', full_page_writes: 'off', max_connections: '300', timezone: 'UTC' };
const SYSTEM = '/usr/lib/postgresql';

/** Where the binaries of Postgres 15 are, if this machine has them. */
export function postgres15(): string | undefined {
  const directory = process.env['TEST_POSTGRES_15_BIN'] ?? `${SYSTEM}/15/bin`;
  return existsSync(join(directory, 'postgres')) ? directory : undefined;
}

export async function startTestServer(): Promise<TestServer> {
  const given = process.env['TEST_DATABASE_URL'];
  if (given) return { url: given, origin: 'TEST_DATABASE_URL', outlives: true, stop: async () => undefined };
  return (await startContainer()) ?? (await startLocal(await localBinaries()));
}

export async function startPostgres15(directory: string): Promise<TestServer> {
  return await startLocal(binariesIn(directory, 'system 15'));
}

async function startLocal(binaries: Binaries): Promise<TestServer> {
  await sweep();
  const account = await chooseAccount();
  const directory = await mkdtemp(join(tmpdir(), PREFIX));
  await chmod(directory, 0o711);
  await takeDirectory(directory);
  const cluster = join(directory, 'cluster');
  const password = randomBytes(16).toString('hex');
  await makeCluster({ binaries, cluster, account, superuser: 'postgres', password, durable: false });
  const port = await freePort();
  const logFile = join(directory, 'postgres.log');
  const postmaster = await startPostmaster({ binaries, cluster, account, port, settings: SETTINGS, logFile });
  return {
    url: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`,
    origin: binaries.origin,
    outlives: false,
    stop: async () => {
      await postmaster.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

const PREFIX = 'tailrace-test-';
const YOUNG_MS = 60_000;

/** Removes what killed runs left: forty megabytes each. */
async function sweep(): Promise<void> {
  const names = (await readdir(tmpdir())).filter((name) => name.startsWith(PREFIX));
  for (const directory of names.map((name) => join(tmpdir(), name))) {
    const { mtimeMs } = await stat(directory);
    if (wallMs() - mtimeMs < YOUNG_MS || 'owner' in (await takeDirectory(directory))) continue;
    await clearLeftover(join(directory, 'cluster'));
    await rm(directory, { recursive: true, force: true });
  }
}

async function localBinaries(): Promise<Binaries> {
  try {
    return await embeddedBinaries(await chooseAccount());
  } catch (error) {
    const versions = (await readdir(SYSTEM).catch(() => [])).map(Number).sort((a, b) => b - a);
    const newest = versions.find((version) => existsSync(join(SYSTEM, String(version), 'bin', 'postgres')));
    if (newest === undefined) throw error;
    return binariesIn(join(SYSTEM, String(newest), 'bin'), `system ${newest}`);
  }
}

async function startContainer(): Promise<TestServer | undefined> {
  if (!(await dockerAnswers())) return undefined;
  try {
    const { PostgreSqlContainer } = await import('@testcontainers/postgresql');
    const flags = Object.entries(SETTINGS).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const container = await new PostgreSqlContainer('postgres:18-alpine').withCommand(['postgres', ...flags]).start();
    const stop = async () => void (await container.stop());
    return { url: container.getConnectionUri(), origin: 'container', outlives: false, stop };
  } catch (error) {
    // A daemon that cannot fetch the image is no reason to fail: there are binaries.
    console.warn(`no container: ${(error as Error).message}`);
    return undefined;
  }
}

const PING_MS = 1_000;

/** testcontainers waits for ever on a daemon that accepts connections and says nothing, so it is asked first. */
function dockerAnswers(): Promise<boolean> {
  const host = process.env['DOCKER_HOST'];
  const url = host && !host.startsWith('unix:') ? new URL(host.replace(/^tcp:/, 'http:')) : undefined;
  const socketPath = host?.replace(/^unix:\/\//, '') ?? '/var/run/docker.sock';
  if (!url && !existsSync(socketPath)) return Promise.resolve(false);
  return new Promise((resolve) => {
    const target = url ? { host: url.hostname, port: url.port } : { socketPath };
    const request = get({ ...target, path: '/_ping', signal: AbortSignal.timeout(PING_MS) }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on('error', () => resolve(false));
  });
}
