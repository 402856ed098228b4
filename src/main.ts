#!/usr/bin/env node
/**
 * The command line (docs/cli.md). Results go to standard output, everything beside them to standard error; the exit code
 * says what came of it (cli/exit-codes.ts).
 */
import { run } from './cli/run.js';
import { direct } from './direct.js';

const io = { stdin: process.stdin, stdout: process.stdout, stderr: process.stderr, signals: process };

try {
  process.exitCode = await run(process.argv.slice(2), io, direct());
} catch (error) {
  process.stderr.write(`tailrace: ${(error as Error)?.stack ?? String(error)}\n`);
  process.exitCode = 1;
}
// A terminal or a pipe on standard input would keep the process alive once it was read from.
process.stdin.unref?.();
