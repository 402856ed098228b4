import { describe, expect, it } from 'vitest';
import { EngineError } from '../../../src/domain/errors.js';
import { type AppliedMigration, pendingMigrations } from '../../../src/repository/migrations/compare.js';
import { type MigrationFile, parseMigration, readMigrations } from '../../../src/repository/migrations/files.js';

const BODY = '-- Why.\n-- older-servers: refused\n\ncreate table {schema}.a (b int);\n';
const first = parseMigration('0001_create_a.sql', BODY);
const second = parseMigration('0002_create_b.sql', BODY.replace('refused', 'allowed'));

describe('a migration file', () => {
  it('gives the same checksum whatever its line endings', () => {
    expect(parseMigration('0001_create_a.sql', BODY.replaceAll('\n', '\r\n')).sha256).toBe(first.sha256);
  });

  it('says in its header whether older servers may stay', () => {
    expect([first.olderServers, second.olderServers]).toEqual([false, true]);
    expect(() => parseMigration('0003_no_header.sql', 'select 1;')).toThrow(/lacks "older-servers/);
  });

  it('is cut into pieces only where it asks for no transaction', () => {
    const text = '-- older-servers: allowed\n-- migrate: no-transaction\nselect 1;\n-- migrate: next\nselect 2;\n';
    const file = parseMigration('0003_index_a.sql', text);
    expect(file.inTransaction).toBe(false);
    expect(file.pieces.map((piece) => piece.includes('select 2'))).toEqual([false, true]);
    expect(first.pieces).toEqual([BODY]);
  });

  it.each(['-- migrate: without-transaction', '-- older-servers: maybe'])('refuses the header %s', (line) => {
    expect(() => parseMigration('0003_x.sql', `${line}\n${BODY}`)).toThrow(/its header says/);
  });

  it.each(['1_a.sql', '0001-a.sql', '0001_A.sql', '0001.sql'])('refuses the name %s', (name) => {
    expect(() => parseMigration(name, BODY)).toThrow(/NNNN_verb_object/);
  });
});

describe('what is pending', () => {
  it('is what the database has not seen, in order', () => {
    expect(pendingMigrations([first, second], [])).toEqual([first, second]);
    expect(pendingMigrations([first, second], [applied(first)])).toEqual([second]);
  });

  it('refuses a file changed after it was applied, by name', () => {
    const row = { ...applied(first), sha256: '0' };
    expect(() => pendingMigrations([first], [row])).toThrow(/0001_create_a\.sql was changed/);
  });

  it('refuses a file older than the newest applied', () => {
    expect(() => pendingMigrations([first, second], [applied(second)])).toThrow(/0001_create_a\.sql is older/);
  });

  it('refuses an applied file that is gone', () => {
    expect(() => pendingMigrations([second], [applied(first), applied(second)])).toThrow(/its file is gone/);
  });

  it('refuses a newer schema, unless that allows older servers', () => {
    expect(pendingMigrations([first], [applied(first), applied(second)])).toEqual([]);
    const strict = { ...applied(second), olderServers: false };
    try {
      pendingMigrations([first], [applied(first), strict]);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(EngineError);
      expect((error as EngineError).reason).toBe('SCHEMA_TOO_NEW');
      expect((error as EngineError).metadata).toEqual({ migration: '0002_create_b.sql' });
    }
  });
});

it('the migrations of this package can be read and are numbered without gaps', async () => {
  const versions = (await readMigrations()).map((file) => file.version);
  expect(versions).toEqual(versions.map((_, index) => index + 1));
});

function applied(file: MigrationFile): AppliedMigration {
  return { version: file.version, name: file.name, sha256: file.sha256, olderServers: file.olderServers };
}
