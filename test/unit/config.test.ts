import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeSettings, readConfig } from '../../src/config.js';
import { StartError } from '../../src/domain/start-error.js';

let directory: string;
let pem: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'config-'));
  pem = join(directory, 'some.pem');
  writeFileSync(pem, 'PEM');
});

afterAll(async () => await rm(directory, { recursive: true }));

describe('the configuration', () => {
  it('needs nothing, and then serves on the loopback address with an embedded database', () => {
    expect(readConfig({ PATH: '/bin', TAILRACE_PORT: '' })).toEqual({
      databaseUrl: undefined,
      schema: 'tailrace',
      dataDirectory: undefined,
      databaseConnections: 10,
      migrateOnStart: true,
      host: '127.0.0.1',
      port: 8233,
      tls: undefined,
      anonymous: true,
      bootstrapTokenFile: undefined,
      clientRoles: [],
      secretsKey: undefined,
      maxPayloadBytes: 1_048_576,
      flowLimits: { members: 100_000, slots: 10_000, depth: 1_000, edges: 50_000 },
      signalLimits: { perExecution: 10_000, earlyPerWaitpoint: 1_000, waitpoints: 1_000 },
      frameLimits: { frames: 10_000, summaryBytes: 262_144, frameBytes: 65_536 },
      drainMs: 30_000,
      heartbeatMs: 15_000,
      partitionMs: 7 * 86_400_000,
      logPartitionRows: 10_000_000,
      retentionMs: 30 * 86_400_000,
      leastRetentionMs: 3_600_000,
      letterRetentionDays: 30,
      logLevel: 'info',
      tracing: undefined,
      metrics: { own: undefined, onApiPort: false, names: 100 },
      traffic: {
        port: { connections: 10_000, connectionsPerAddress: 2_000, bufferedBytes: 268_435_456 },
        calls: {
          calls: 4_000,
          waiting: 10_000,
          callsPerCaller: 1_500,
          waitingPerCaller: 5_000,
          perConnection: 1_000,
          perSecond: 0,
          lateMs: 500,
        },
      },
    });
  });

  it('says everything that is wrong at once, and nothing secret', () => {
    const message = problems({
      DATABASE_URL: 'mysql://me:secret@host/db',
      TAILRACE_PORT: '80a',
      TAILRACE_SCHEMA: 'Robert"; drop',
      TAILRACE_LOG_LEVEL: 'loud',
      TAILRACE_MIGRATE: 'yes',
      TAILRACE_TLS_KEY: join(directory, 'none.pem'),
      TAILRACE_HOST: '0.0.0.0',
      TAILRACE_PROT: '1',
    });
    expect(message).not.toContain('secret');
    expect(message.split('\n').slice(1)).toEqual([
      expect.stringMatching(/^ {2}DATABASE_URL must be an address such as .*; it is 25 characters of text$/),
      expect.stringMatching(/^ {2}TAILRACE_SCHEMA must be a lower-case name/),
      '  TAILRACE_MIGRATE must be true or false; it is "yes"',
      '  TAILRACE_PORT must be a whole number from 0 to 65535; it is "80a"',
      expect.stringMatching(/^ {2}TAILRACE_TLS_KEY must be a file that can be read \(ENOENT\)/),
      expect.stringMatching(/^ {2}TAILRACE_LOG_LEVEL must be one of fatal, .*; it is "loud"$/),
      '  TAILRACE_TLS_KEY needs TAILRACE_TLS_CERT',
      '  TAILRACE_PROT is not a setting; did you mean TAILRACE_PORT?',
    ]);
  });

  it.each(['-1', '65536', '1e3', '0x10', ' 80', '80.5', '99999999999'])('refuses the port "%s"', (port) => {
    expect(problems({ TAILRACE_PORT: port })).toMatch(/TAILRACE_PORT must be a whole number/);
  });

  it.each(['postgres://h/db', 'postgresql://u:p@h:5433/db?sslmode=require', 'postgres:///db?host=/run'])(
    'takes the address %s',
    (url) => expect(readConfig({ DATABASE_URL: url }).databaseUrl).toBe(url),
  );

  it.each(['127.0.0.1', '127.1.2.3', 'localhost', '::1'])('lets anybody in who reaches %s', (host) => {
    expect(readConfig({ TAILRACE_HOST: host })).toMatchObject({ host, anonymous: true });
    expect(readConfig({ TAILRACE_HOST: host, TAILRACE_AUTHENTICATION: 'required' }).anonymous).toBe(false);
  });

  it.each(['0.0.0.0', '::', '10.0.0.1', 'example.org', '127.example.org', 'localhost.example.org'])(
    'lets nobody in on %s who does not show who it is, unless it is told otherwise',
    (host) => {
      const tls = { TAILRACE_TLS_CERT: pem, TAILRACE_TLS_KEY: pem, TAILRACE_TLS_CLIENT_CA: pem };
      expect(readConfig({ TAILRACE_HOST: host }).anonymous).toBe(false);
      expect(readConfig({ TAILRACE_HOST: host, ...tls }).anonymous).toBe(false);
      const open = { TAILRACE_HOST: host, TAILRACE_ALLOW_UNAUTHENTICATED_NETWORK: 'true' };
      expect(readConfig(open).anonymous).toBe(true);
      expect(problems({ ...open, TAILRACE_AUTHENTICATION: 'required' })).toMatch(/exclude each other/);
    },
  );

  it('reads what certificates stand for, whole or not at all', () => {
    const file = join(directory, 'client-roles.json');
    const tls = { TAILRACE_TLS_CERT: pem, TAILRACE_TLS_KEY: pem, TAILRACE_TLS_CLIENT_CA: pem };
    const read = (content: unknown) => {
      writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
      return { ...tls, TAILRACE_CLIENT_ROLES_FILE: file };
    };
    const rule = { subject: 'CN=worker-*, O=Example', namespace: 'default', roles: ['worker'] };
    expect(readConfig(read([rule])).clientRoles).toEqual([rule]);
    expect(problems(read('[{'))).toMatch(/TAILRACE_CLIENT_ROLES_FILE must be a file with a JSON list/);
    expect(problems(read([{ ...rule, roles: ['root'] }]))).toMatch(/\[0\.roles\.0\]/);
    expect(problems(read([{ ...rule, subject: 'worker' }]))).toMatch(/\[0\.subject\]/);
    expect(problems(read([{ ...rule, extra: 1 }]))).toMatch(/extra/);
    expect(problems({ TAILRACE_CLIENT_ROLES_FILE: file })).toMatch(/needs TAILRACE_TLS_CLIENT_CA/);
    expect(problems({ TAILRACE_TLS_CLIENT_CERT: 'optional' })).toMatch(/needs TAILRACE_TLS_CLIENT_CA/);
  });

  it('reads the files of TLS, which belong together', () => {
    const { tls } = readConfig({ TAILRACE_TLS_CERT: pem, TAILRACE_TLS_KEY: pem });
    expect(tls).toEqual({ cert: Buffer.from('PEM'), key: Buffer.from('PEM') });
    expect(problems({ TAILRACE_TLS_CERT: pem })).toMatch(/TAILRACE_TLS_CERT needs TAILRACE_TLS_KEY/);
    expect(problems({ TAILRACE_TLS_CLIENT_CA: pem })).toMatch(/TAILRACE_TLS_CLIENT_CA needs/);
  });

  it('takes the key of secrets from its text or from a file, and never shows it', () => {
    const key = Buffer.alloc(32, 7);
    const [text, path] = [key.toString('base64'), join(directory, 'secrets-key')];
    writeFileSync(path, `${text}\n`);
    expect(readConfig({ TAILRACE_SECRETS_KEY: text }).secretsKey).toEqual(key);
    expect(readConfig({ TAILRACE_SECRETS_KEY_FILE: path }).secretsKey).toEqual(key);
    expect(problems({ TAILRACE_SECRETS_KEY: text, TAILRACE_SECRETS_KEY_FILE: path })).toMatch(/one of them is enough/);
    expect(problems({ TAILRACE_SECRETS_KEY_FILE: join(directory, 'none') })).toMatch(/can be read \(ENOENT\)/);
    const short = Buffer.alloc(31, 7).toString('base64');
    for (const wrong of [
      'hush-hush',
      short,
      `${text}=`,
      `${text} ${text}`,
      text.slice(0, -1),
      `${text.slice(0, -2)}-=`,
    ]) {
      writeFileSync(path, wrong);
      for (const environment of [{ TAILRACE_SECRETS_KEY: wrong }, { TAILRACE_SECRETS_KEY_FILE: path }]) {
        const message = problems(environment);
        expect(message).toContain('32 bytes in base64');
        expect(message).not.toContain(wrong);
      }
    }
  });

  it.each([
    ['1s', 1_000],
    ['1500ms', 1_500],
    ['15m', 900_000],
    ['12h', 43_200_000],
    ['36500d', 3_153_600_000_000],
    ['forever', undefined],
  ])('keeps what ended for %s', (span, ms) => {
    expect(readConfig({ TAILRACE_RETENTION: span }).retentionMs).toBe(ms);
  });

  it.each(['', '0', '7', '0s', '999ms', '-1d', '1.5h', '1 d', '1w', '36501d', '9999999999d', 'for ever', '1D'])(
    'refuses the length of time "%s"',
    (span) => {
      if (span === '') return expect(readConfig({ TAILRACE_PARTITION_WIDTH: span }).partitionMs).toBe(604_800_000);
      const message = problems({ TAILRACE_PARTITION_WIDTH: span, TAILRACE_RETENTION: span });
      expect(message).toMatch(/TAILRACE_PARTITION_WIDTH must be a length of time such as .*, at least 1s; it is/);
      expect(message).toMatch(/TAILRACE_RETENTION must be a length of time .*, or forever; it is/);
    },
  );

  it('names no setting it has no idea of', () => {
    expect(problems({ TAILRACE_ZZZ: '1' })).toMatch(/TAILRACE_ZZZ is not a setting$/);
    expect(problems({ TAILRACE_DATABASE_URL: 'x' })).toMatch(/did you mean DATABASE_URL\?$/);
  });

  it('starts also where the address for clients is set', () => {
    expect(readConfig({ TAILRACE_URL: 'http://127.0.0.1:8233' }).port).toBe(8233);
  });

  it('explains every setting', () => {
    expect(describeSettings().filter(({ about }) => about === '')).toEqual([]);
  });
});

function problems(environment: Record<string, string>): string {
  try {
    readConfig(environment);
  } catch (error) {
    expect(error).toBeInstanceOf(StartError);
    return (error as Error).message;
  }
  throw new Error('accepted');
}

it('tells metrics where the settings say', () => {
  const given = { TAILRACE_METRICS_PORT: '0', TAILRACE_METRICS_HOST: '::', TAILRACE_METRICS_NAMES: '7' };
  expect(readConfig(given).metrics).toEqual({ own: { host: '::', port: 0 }, onApiPort: false, names: 7 });
  expect(() => readConfig({ TAILRACE_METRICS_PORT: '70000' })).toThrow('a whole number from 0 to 65535');
});
