import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmod,
  cp,
  mkdir,
  mkdtemp,
  readFile,
  readlink,
  realpath,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chooseAccount } from '../../src/embedded/account.js';
import { binariesIn, embeddedBinaries, makeUsable } from '../../src/embedded/binaries.js';
import { makeCluster } from '../../src/embedded/cluster.js';
import { openDataDirectory } from '../../src/embedded/data-directory.js';
import { type EmbeddedPostgres, startEmbedded } from '../../src/embedded/index.js';

const asRoot = process.getuid?.() === 0;

let root: string;
let directory: string;
let running: EmbeddedPostgres | undefined;

beforeEach(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'embedded-')));
  await chmod(root, 0o755);
  directory = join(root, 'data');
});

afterEach(async () => {
  await running?.stop();
  running = undefined;
  await rm(root, { recursive: true, force: true });
});

// Each makes a cluster and starts it more than once, which takes a slow disk its time.
describe('the embedded Postgres', { timeout: 90_000 }, () => {
  it('keeps data and address over a restart, and asks everybody for the password', async () => {
    const { url } = await start();
    await query(url, 'create table kept as select 42 as answer');
    await stop();
    expect((await start()).url).toBe(url);
    expect(await query(url, 'select answer from kept')).toEqual([{ answer: 42 }]);
    expect((await stat(join(directory, 'password'))).mode & 0o777).toBe(0o600);
    const guess = new URL(url);
    guess.password = 'guess';
    await expect(query(guess.href, 'select 1')).rejects.toThrow(/password authentication failed/);
  });

  it('is found again after its server was killed', async () => {
    const program = spawn(process.execPath, ['--import', 'tsx', 'test/support/embedded-program.ts', directory], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [url] = (await once(createInterface(program.stdout), 'line')) as [string];
    await query(url, 'create table kept as select 42 as answer');

    await expect(startEmbedded({ directory })).rejects.toThrow(
      `another Tailrace server (process ${program.pid}) already runs`,
    );
    const attached = await startEmbedded({ directory, attach: true });
    expect(attached.url).toBe(url);
    await attached.stop();

    program.kill('SIGKILL');
    await once(program, 'exit');
    await start();
    expect(await query(url, 'select answer from kept')).toEqual([{ answer: 42 }]);
  });

  it('starts over a postmaster.pid whose number now belongs to another process', async () => {
    await start();
    await stop();
    await writeFile(join(directory, 'cluster', 'postmaster.pid'), `${process.pid}\n${directory}\n`);
    const { url } = await start();
    expect(await query(url, 'select 1 as one')).toEqual([{ one: 1 }]);
  });

  it('is started again when it ends unasked', async () => {
    const notices: string[] = [];
    let notice: () => void = () => undefined;
    const again = new Promise<void>((resolve) => {
      notice = resolve;
    });
    const { url } = await start((message) => {
      if (notices.push(message) === 2) notice();
    });
    const postmaster = Number.parseInt(await readFile(join(directory, 'cluster', 'postmaster.pid'), 'utf8'), 10);
    process.kill(postmaster, 'SIGKILL');
    await again;
    expect(notices).toEqual([expect.stringMatching(/ended unexpectedly/), 'the embedded Postgres runs again']);
    expect(await query(url, 'select 1 as one')).toEqual([{ one: 1 }]);
  });

  it('takes another port when its own is in use', async () => {
    const { url } = await start();
    await stop();
    const other = createServer().listen(Number(new URL(url).port), '127.0.0.1');
    await once(other, 'listening');
    const moved = await start();
    expect(moved.url).not.toBe(url);
    expect(await query(moved.url, 'select 1 as one')).toEqual([{ one: 1 }]);
    other.close();
  });

  it('leaves a directory alone that holds other things', async () => {
    await writeFile(join(root, 'letter'), 'dear');
    await chmod(root, 0o755);
    await expect(startEmbedded({ directory: root })).rejects.toThrow(/holds other things \(letter\)/);
    expect((await stat(root)).mode & 0o777).toBe(0o755);
  });

  it('says what Postgres said when that does not start, and lets go of the directory', async () => {
    await start();
    await stop();
    await writeFile(join(directory, 'cluster', 'PG_VERSION'), '12\n');
    await expect(start()).rejects.toThrow(/did not start.*initialized by PostgreSQL version 12/s);
    await writeFile(join(directory, 'cluster', 'PG_VERSION'), '18\n');
    await start();
  });
});

describe('its binaries', () => {
  it('are copied to where its user can enter, with the links that npm --ignore-scripts leaves out', async () => {
    const account = await chooseAccount();
    const installed = join(root, 'closed', 'native');
    const { postgres } = await embeddedBinaries(account);
    await cp(dirname(dirname(postgres)), installed, { recursive: true, verbatimSymlinks: true });
    await rm(join(installed, 'lib', 'libpq.so.5'));
    await chmod(join(root, 'closed'), 0o700);

    const native = await makeUsable(installed, account, join(root, 'cache', 'postgres'));
    expect(native.startsWith(join(root, asRoot ? 'cache' : 'closed'))).toBe(true);
    expect(await readlink(join(native, 'lib', 'libpq.so.5'))).toMatch(/^libpq\.so\.5\./);
    const binaries = binariesIn(join(native, 'bin'), 'copied');
    await makeCluster({ binaries, account, cluster: join(root, 'c'), superuser: 'x', password: 'x', durable: false });
    expect(await makeUsable(installed, account, join(root, 'cache', 'postgres'))).toBe(native);
  });
});

describe.runIf(asRoot)('a data directory below one that only root may enter', () => {
  const places = () => ({ working: join(root, 'closed'), open: join(root, 'open') });

  beforeEach(async () => {
    await mkdir(join(root, 'closed'));
    await chmod(join(root, 'closed'), 0o700);
  });

  it('is moved when it is the default, and found again through a link', async () => {
    const first = await openDataDirectory(undefined, places());
    expect(dirname(first.path)).toBe(join(root, 'open'));
    expect(await realpath(join(root, 'closed', '.tailrace', 'postgres'))).toBe(first.path);
    expect((await openDataDirectory(undefined, places())).path).toBe(first.path);

    await rm(first.path, { recursive: true });
    expect((await openDataDirectory(undefined, places())).path).not.toBe(first.path);
  });

  it('is refused when somebody chose it', async () => {
    await expect(openDataDirectory('mine', places())).rejects.toThrow(`who cannot enter ${join(root, 'closed')}`);
    await symlink(root, join(root, 'link'));
    await expect(openDataDirectory(join(root, 'link', 'closed', 'mine'), places())).rejects.toThrow(/cannot enter/);
  });
});

async function start(onNotice?: (message: string) => void): Promise<EmbeddedPostgres> {
  running = await startEmbedded({ directory, ...(onNotice && { onNotice }) });
  return running;
}

async function stop(): Promise<void> {
  await running?.stop();
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}
