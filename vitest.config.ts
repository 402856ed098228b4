/**
 * The levels of tests, each a project: `npx vitest run --project unit`.
 *
 * Integration runs once more on Postgres 15, the oldest version promised, where the machine has its binaries.
 */
import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { postgres15 } from './test/support/postgres-server.js';

interface Level {
  readonly name: string;
  readonly folder?: string;
  readonly seconds: number;
  readonly postgres: boolean;
}

const levels: Level[] = [
  { name: 'unit', seconds: 10, postgres: false },
  { name: 'integration', seconds: 30, postgres: true },
  { name: 'e2e', seconds: 120, postgres: true },
];

if (postgres15()) levels.push({ name: 'integration-pg15', folder: 'integration', seconds: 30, postgres: true });
else console.log('integration-pg15 is skipped: no Postgres 15 in /usr/lib/postgresql/15/bin or TEST_POSTGRES_15_BIN');

export default defineConfig({
  test: {
    reporters: ['default', './test/support/tally-reporter.ts'],
    // Tests wait for timers and for each other's servers most of the time: one file more at once than there are cores.
    maxWorkers: availableParallelism() + 1,
    projects: levels.map((level) => ({
      test: {
        name: level.name,
        include: [`test/${level.folder ?? level.name}/**/*.test.ts`],
        // The embedded Postgres has one version, and what passes the port is not the database's.
        exclude:
          level.name === 'integration-pg15'
            ? ['embedded', 'guards', 'server-*'].map((name) => `test/integration/${name}.test.ts`)
            : [],
        testTimeout: level.seconds * 1_000,
        hookTimeout: 60_000,
        expect: { poll: { timeout: 20_000 } },
        // One process for many files: it reads the sources once, and runs them compiled. What differs is the database.
        isolate: false,
        ...(level.postgres && { setupFiles: ['./test/support/kept-databases.ts'] }),
        ...(level.postgres && { globalSetup: ['./test/support/global-setup.ts'] }),
      },
    })),
  },
});
