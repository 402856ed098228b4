/** The machine, the clock, and how the server is set up. */
import { X509Certificate } from 'node:crypto';
import type { Facts } from './facts.js';
import { bytes, type Finding, seconds } from './finding.js';

const MOST_SKEW_MS = 2_000;
const DAY_MS = 86_400_000;
const CERTIFICATE_MS = 14 * DAY_MS;
const LEAST_PARTITIONS_MS = 2 * DAY_MS;
const LEAST_FREE = { bytes: 2 ** 30, share: 0.05 };

/** When the last release of a major version of Postgres comes. */
const ENDS: Readonly<Record<number, string>> = {
  15: '2027-11-11',
  16: '2028-11-09',
  17: '2029-11-08',
  18: '2030-11-14',
};

export function judgeSurroundings(facts: Facts): Finding[] {
  return [
    ...clock(facts),
    ...version(facts),
    ...partitions(facts),
    ...disk(facts),
    ...secrets(facts),
    ...access(facts),
  ];
}

function clock({ clock: { aheadMs, uncertainMs } }: Facts): Finding[] {
  if (Math.abs(aheadMs) - uncertainMs <= MOST_SKEW_MS) return [];
  const [by, way] = [seconds(Math.abs(aheadMs) / 1_000), aheadMs > 0 ? 'ahead of' : 'behind'];
  return [
    {
      name: 'clock',
      severity: 'warning',
      now: `the database's clock is ${by} ${way} this machine's`,
      hurts: 'ids tell the wrong time, by which lists are ordered and retention goes; leases go by the database alone',
      mend: 'set both clocks by NTP',
    },
  ];
}

function version({ settings, machine }: Facts): Finding[] {
  const major = Math.floor(settings.version / 10_000);
  const ends = ENDS[major];
  if (ends === undefined || machine.nowMs < new Date(ends).getTime()) return [];
  return [
    {
      name: 'version of Postgres',
      severity: 'warning',
      now: `Postgres ${major} gets no more corrections since ${ends}`,
      hurts: 'known errors stay',
      mend: 'move to a newer version with pg_upgrade',
    },
  ];
}

function partitions({ relations, setup }: Facts): Finding[] {
  const { partitions_until_ms: until, now_ms: now } = relations;
  if (until === null) return [];
  const left = Number(until - now);
  if (left >= Math.min(LEAST_PARTITIONS_MS, setup.partitionMs)) return [];
  return [
    {
      name: 'partitions',
      severity: 'warning',
      now:
        left > 0
          ? `the partitions reach ${seconds(left / 1_000)} ahead`
          : `the partitions ended ${seconds(-left / 1_000)} ago`,
      hurts: 'beyond them nothing can be created',
      mend: 'a server that starts makes more; if one runs, its log says why it does not',
    },
  ];
}

function disk({ machine }: Facts): Finding[] {
  if (!machine.disk) return [];
  const { path, freeBytes, wholeBytes } = machine.disk;
  if (freeBytes >= LEAST_FREE.bytes && freeBytes >= Math.min(LEAST_FREE.share * wholeBytes, 20 * 2 ** 30)) return [];
  return [
    {
      name: 'disk',
      severity: 'warning',
      now: `${bytes(freeBytes)} are free where the database lies (${path})`,
      hurts: 'when they are used up, nothing is accepted any more',
      mend: 'make room, set TAILRACE_RETENTION shorter, or set TAILRACE_DATA_DIR to another disk',
    },
  ];
}

function secrets({ machine, setup }: Facts): Finding[] {
  const open = machine.secrets.filter(({ mode }) => (mode & 0o077) !== 0);
  const found: Finding[] = open.map(({ path, mode }) => ({
    name: 'permissions',
    severity: 'warning',
    now: `${path} has mode ${(mode & 0o777).toString(8).padStart(4, '0')}`,
    hurts: 'other users of this machine read a secret in it',
    mend: `chmod 600 ${path}`,
  }));
  if (!setup.secretsKey) {
    found.push({
      name: 'secrets key',
      severity: 'warning',
      now: 'TAILRACE_SECRETS_KEY is not set',
      hurts: 'waitpoints, whose tokens need it, cannot be made or signaled by token',
      mend: 'set it to what `openssl rand -base64 32` prints, the same for every server on this database',
    });
  }
  return found;
}

function access({ machine, setup }: Facts): Finding[] {
  const found: Finding[] = [];
  if (setup.anonymous && !setup.loopback) {
    found.push({
      name: 'unauthenticated network',
      severity: 'warning',
      now: 'the server listens beyond the loopback address and asks nobody who they are',
      hurts: 'anybody who reaches the port may do everything',
      mend: 'unset TAILRACE_ALLOW_UNAUTHENTICATED_NETWORK, and give callers tokens (tailrace tokens create)',
    });
  }
  if (setup.certificate === undefined) return found;
  const certificate = new X509Certificate(setup.certificate);
  const problem = validity(certificate, machine.nowMs);
  if (problem !== undefined) {
    found.push({
      name: 'certificate',
      severity: 'warning',
      now: `the TLS certificate ${problem}`,
      hurts: 'clients refuse to connect',
      mend: 'put another one to TAILRACE_TLS_CERT and TAILRACE_TLS_KEY and restart; look at the clock as well',
    });
  }
  return found;
}

function validity({ validFrom, validTo }: X509Certificate, nowMs: number): string | undefined {
  if (new Date(validFrom).getTime() > nowMs) return `is not valid before ${validFrom}`;
  const leftMs = new Date(validTo).getTime() - nowMs;
  if (leftMs <= 0) return `expired ${seconds(-leftMs / 1_000)} ago`;
  return leftMs < CERTIFICATE_MS ? `expires in ${seconds(leftMs / 1_000)}` : undefined;
}
