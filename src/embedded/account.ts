/**
 * Which user of this machine Postgres runs as. It refuses to run as root; for a normal user it is that user.
 */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { StartError } from '../domain/start-error.js';

export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

const MADE = 'tailrace';
/** In this order; `nobody` only where no user can be made, since other services may run as it. */
const PREFERRED = ['postgres', MADE];
const LAST_RESORT = 'nobody';
const MAKERS: readonly (readonly [string, ...string[]])[] = [
  ['useradd', '--system', '--user-group', '--no-create-home', '--shell', '/usr/sbin/nologin', MADE],
  ['adduser', '-S', '-D', '-H', MADE], // BusyBox
];

/** Undefined = the user of this process. `owner` is the user id that an existing cluster belongs to. */
export async function chooseAccount(owner?: number): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const accounts = await readAccounts();
  const previous = accounts.find((account) => account.uid === owner && account.uid !== 0);
  if (previous) return previous;
  const found = named(accounts, PREFERRED) ?? (await makeAccount()) ?? named(accounts, [LAST_RESORT]);
  if (found) return found;
  throw new StartError(
    'Postgres does not run as root, and no other user was found or could be made: ' +
      `make one named ${MADE}, start as a normal user, or set DATABASE_URL`,
  );
}

async function makeAccount(): Promise<Account | undefined> {
  for (const [command, ...parameters] of MAKERS) {
    try {
      await promisify(execFile)(command, parameters);
      return named(await readAccounts(), [MADE]);
    } catch {
      // Not on this machine, or not allowed: the next way.
    }
  }
  return undefined;
}

function named(accounts: readonly Account[], names: readonly string[]): Account | undefined {
  for (const name of names) {
    const found = accounts.find((account) => account.name === name && account.uid > 0);
    if (found) return found;
  }
  return undefined;
}

async function readAccounts(): Promise<Account[]> {
  const lines = (await readFile('/etc/passwd', 'utf8')).split('\n');
  return lines.flatMap((line) => {
    const [name, , uid, gid] = line.split(':');
    return name && uid && gid ? [{ name, uid: Number(uid), gid: Number(gid) }] : [];
  });
}
