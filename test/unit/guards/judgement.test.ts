/** Each judgement by itself: nothing is found where all is well, and each thing that is not is found and nothing else. */
import { expect, test } from 'vitest';
import { type Facts, type Finding, judge, told } from '../../../src/guards/index.js';
import { makeAuthority } from '../../support/certificates.js';

const DAY_MS = 86_400_000;
const NOW_MS = new Date('2026-11-22').getTime();
const GIB = 2 ** 30;

const WELL: Facts = {
  settings: {
    version: 180_004,
    standby: false,
    encoding: 'UTF8',
    database_connections: -1,
    role_connections: -1,
    xid_age: 50_000_000,
    multixact_age: 10,
    settings: {
      autovacuum: 'on',
      DateStyle: 'ISO, MDY',
      default_transaction_read_only: 'off',
      fsync: 'on',
      full_page_writes: 'on',
      idle_session_timeout: '0',
      max_connections: '100',
      max_locks_per_transaction: '128',
      max_prepared_transactions: '0',
      reserved_connections: '0',
      session_replication_role: 'origin',
      standard_conforming_strings: 'on',
      statement_timeout: '30000',
      superuser_reserved_connections: '3',
      synchronous_standby_names: '',
      TimeZone: 'UTC',
      track_counts: 'on',
      transaction_timeout: '0',
    },
  },
  sessions: {
    clients: 24,
    ours: 22,
    servers: [
      { name: 'tailrace 0.6.0', address: '10.0.0.1', connections: 10 },
      { name: 'tailrace 0.7.0', address: '10.0.0.2', connections: 10 },
      { name: 'tailrace wakes', address: '10.0.0.1', connections: 1 },
      { name: 'tailrace wakes', address: '10.0.0.2', connections: 1 },
    ],
    oldest: { pid: 1, name: 'pg_dump', seconds: 600 },
  },
  held: { prepared: [], slots: [], replicas: [], replica_count: 0 },
  relations: {
    relations: 400,
    partitions: 60,
    partitions_until_ms: BigInt(NOW_MS + 10 * DAY_MS),
    now_ms: BigInt(NOW_MS),
    bloated: [],
  },
  clock: { aheadMs: 40, uncertainMs: 1 },
  pooler: { kind: undefined, refusal: undefined },
  machine: {
    nowMs: NOW_MS,
    openFiles: 1_048_576,
    disk: { path: '/data', freeBytes: 50 * GIB, wholeBytes: 100 * GIB },
    secrets: [{ path: '/data/password', mode: 0o100600 }],
  },
  setup: {
    poolConnections: 10,
    clientConnections: 10_000,
    partitionMs: 7 * DAY_MS,
    anonymous: false,
    loopback: false,
    secretsKey: true,
    certificate: undefined,
    dataDirectory: '/data',
  },
};

type Change = { readonly [Part in keyof Facts]?: Partial<Facts[Part]> };

function changed(change: Change): Facts {
  const parts = Object.entries(WELL).map(([name, part]) => [name, { ...part, ...change[name as keyof Facts] }]);
  return Object.fromEntries(parts) as unknown as Facts;
}

function set(settings: Partial<Facts['settings']['settings']>): Change {
  return { settings: { settings: { ...WELL.settings.settings, ...settings } } };
}

test('where all is well nothing is found', () => {
  expect(judge(WELL)).toEqual([]);
});

const replica = { name: 'r', sync: false, bytes: 10, seconds: 0 };
const cases: readonly [string, Change, Finding['severity'], string, RegExp][] = [
  ['a standby', { settings: { standby: true } }, 'error', 'standby', /primary/],
  ['an encoding', { settings: { encoding: 'SQL_ASCII' } }, 'error', 'encoding', /UTF8/],
  ['strings', set({ standard_conforming_strings: 'off' }), 'error', 'standard_conforming_strings', /= on/],
  ['a pool by transaction', { pooler: { kind: 'transaction' } }, 'warning', 'pooler', /tailrace migrate/],
  ['transactions cut short', set({ transaction_timeout: '5000' }), 'warning', 'transaction_timeout', /= 0/],
  [
    'a limit of the role',
    { settings: { role_connections: 15 } },
    'warning',
    'connection limit of the role',
    /alter role/,
  ],
  ['too few connections', set({ max_connections: '20' }), 'warning', 'max_connections', /max_connections = 128/],
  ['few open files', { machine: { openFiles: 1_024 } }, 'warning', 'open files', /TAILRACE_MAX_CONNECTIONS to 824/],
  [
    'many partitions',
    { relations: { partitions: 5_000 } },
    'warning',
    'max_locks_per_transaction',
    /max_locks_per_transaction = 2048/,
  ],
  [
    'replicas that nobody waits for',
    { held: { replicas: [replica], replica_count: 1 } },
    'note',
    'asynchronous replicas',
    /any 1/,
  ],
  ['wraparound', { settings: { xid_age: 1_500_000_000 } }, 'warning', 'wraparound', /freeze/],
  [
    'a lost slot',
    { held: { slots: [{ name: 's', active: true, state: 'lost', bytes: 0 }] } },
    'warning',
    'replication slot',
    /pg_drop_replication_slot\('s'\)/,
  ],
  [
    'dead rows',
    { relations: { bloated: [{ table: 'ready', dead: 900_000, live: 5 }] } },
    'warning',
    'dead rows',
    /vacuum/,
  ],
  [
    'no partitions ahead',
    { relations: { partitions_until_ms: BigInt(NOW_MS + 3_600_000) } },
    'warning',
    'partitions',
    /log/,
  ],
  ['a clock', { clock: { aheadMs: -5_000, uncertainMs: 20 } }, 'warning', 'clock', /NTP/],
  [
    'an old Postgres',
    { settings: { version: 150_012 }, machine: { nowMs: NOW_MS + 400 * DAY_MS } },
    'warning',
    'version of Postgres',
    /pg_upgrade/,
  ],
  [
    'a full disk',
    { machine: { disk: { path: '/d', freeBytes: GIB / 2, wholeBytes: GIB } } },
    'warning',
    'disk',
    /TAILRACE_RETENTION/,
  ],
  [
    'an open secret',
    { machine: { secrets: [{ path: '/d/password', mode: 0o100644 }] } },
    'warning',
    'permissions',
    /chmod 600 \/d\/password/,
  ],
  ['no key', { setup: { secretsKey: false } }, 'warning', 'secrets key', /openssl/],
  ['an open network', { setup: { anonymous: true } }, 'warning', 'unauthenticated network', /tokens create/],
];

test.each(cases)('%s', (_, change, severity, name, mend) => {
  const found = judge(changed(change));
  expect(found.map((finding) => [finding.severity, finding.name])).toEqual([[severity, name]]);
  expect(found[0]?.mend).toMatch(mend);
});

test('a clock that is not surely wrong is let be', () => {
  expect(judge(changed({ clock: { aheadMs: 4_000, uncertainMs: 2_500 } }))).toEqual([]);
});

test('a replica that a commit waits for is no finding, unless it is late', () => {
  const names = set({ synchronous_standby_names: 'any 1 (*)' });
  const sync = { ...replica, sync: true };
  expect(judge(changed({ ...names, held: { replicas: [sync], replica_count: 1 } }))).toEqual([]);
  const late = changed({ ...names, held: { replicas: [{ ...sync, seconds: 300, bytes: 5 * GIB }], replica_count: 1 } });
  expect(judge(late)[0]).toMatchObject({ name: 'replication lag', now: 'replica r is 5 min and 5.0 GiB behind' });
  // What this role may not see is not taken for absent.
  expect(judge(changed({ ...names, held: { replicas: [], replica_count: 1 } }))).toEqual([]);
});

test('a certificate is told of before it expires', () => {
  const { cert } = makeAuthority().issue('server');
  const from = Date.now();
  const at = (nowMs: number) =>
    judge(changed({ setup: { certificate: cert }, machine: { nowMs } })).filter(({ name }) => name === 'certificate');
  expect(at(from - 10 * DAY_MS)[0]?.now).toMatch(/not valid before/);
  expect(at(from)[0]?.now).toMatch(/^the TLS certificate expires in/);
  expect(at(from + 40_000 * DAY_MS)[0]?.now).toMatch(/expired/);
});

test('a finding is told in one line', () => {
  const [finding] = judge(changed(set({ fsync: 'off' })));
  if (!finding) throw new Error('nothing found');
  expect(told(finding)).toMatch(/^fsync: fsync is off; a crash .* database\. alter system set fsync = on; .*;$/);
});
