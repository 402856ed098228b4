/**
 * What the quickstart prints: what the files hold, which the report at the end of the flow has added up, how the kill was
 * survived, and whether the books balance.
 */
import type { Found } from './find-markdown.js';
import { LEASE_MS } from './pace.js';
import type { Tally } from './tally.js';
import type { Totals } from './totals.js';

const SHOWN = 5;

export interface Kill {
  readonly worker: string;
  readonly pid: number | undefined;
  /** Files done when it was killed. */
  readonly doneBefore: number;
  readonly atMs: number;
}

export interface Run {
  readonly found: Found;
  /** What the handler at the end of the flow made of its inputs. */
  readonly totals: Totals;
  readonly tally: Tally;
  /** The executions of the files. */
  readonly created: ReadonlySet<string>;
  readonly kill: Kill | undefined;
  /** From the first creation to the last completion. */
  readonly tookMs: number;
  /** Milliseconds each file was held on average beyond its analysis. */
  readonly pace: number;
}

export type Report = ReturnType<typeof reportOf>;

export function reportOf({ found, totals, tally, created, kill, tookMs, pace }: Run) {
  const problems = tally.problems(found.files, created, totals);
  return {
    ...totals,
    folder: found.folder,
    files: found.files.length,
    leftOutFiles: found.leftOut,
    unreadableFolders: found.unreadable,
    kill: kill && {
      worker: kill.worker,
      pid: kill.pid,
      doneBefore: kill.doneBefore,
      takenOver: tally.repeated,
      allDoneAfterMs: tally.repeated === 0 ? 0 : Math.round(tally.lastRepeatedMs - kill.atMs),
    },
    books: {
      created: created.size,
      ended: tally.ended,
      succeeded: tally.analyses.size,
      failed: tally.failed.length,
      endedTwice: tally.twice,
      problems,
    },
    tookMs: Math.round(tookMs),
    heldMs: pace,
  };
}

export function reportAsText(report: Report): string {
  const { brokenRelativeLinks: broken, books, kill } = report;
  const number = (value: number) => value.toLocaleString('en-US');
  return [
    '',
    `${report.folder}`,
    ...table([
      ['files', number(report.files)],
      ['words', number(report.words)],
      ['headings', number(report.headings)],
      ['links', number(report.links)],
      ['broken relative links', number(report.brokenRelativeLinkCount)],
    ]),
    ...onePerFile(broken).map(({ file, link }) => `    ${file} → ${link}`),
    ...(broken.length > SHOWN ? ['    … (--json lists more)'] : []),
    '  slowest files',
    ...report.slowest.map(({ file, ms }) => `    ${ms.toFixed(1).padStart(6)} ms  ${file}`),
    ...report.failed.slice(0, SHOWN).map(({ message }) => `  failed: ${message}`),
    '  (added up by the last member of the flow, which was handed what all the others left)',
    '',
    'Recovery',
    ...killAsText(kill),
    ...report.byWorker.map(({ name, files }) => `  worker ${name} finished ${number(files)} files`),
    '',
    'Books',
    `  created ${books.created} = ended ${books.ended} = succeeded ${books.succeeded} + failed ${books.failed}; ` +
      `ended twice: ${books.endedTwice}`,
    ...(books.problems.length === 0
      ? ['  every file was counted once, by the watch and by the report']
      : books.problems.map((problem) => `  WRONG: ${problem}`)),
    '',
    `${(report.tookMs / 1_000).toFixed(1)} s in all. Each file was held for about ${report.heldMs} ms on purpose, ` +
      'so that there was a half way.',
    '',
  ].join('\n');
}

function killAsText(kill: Report['kill']): string[] {
  if (!kill) return ['  no worker was killed: there were too few files for a half way'];
  const { worker, pid, doneBefore, takenOver, allDoneAfterMs } = kill;
  const killed = `  worker ${worker} (process ${pid}) was killed with SIGKILL after ${doneBefore} files`;
  if (takenOver === 0) return [killed, '  it held no file at that moment'];
  return [
    killed,
    `  ${takenOver} files it held were taken over by second attempts: its leases of ${LEASE_MS / 1_000} s ended, the files`,
    `  queued behind those that were waiting, and the last was done ${(allDoneAfterMs / 1_000).toFixed(1)} s after the kill`,
  ];
}

function onePerFile(broken: Totals['brokenRelativeLinks']): Totals['brokenRelativeLinks'] {
  return broken.filter(({ file }, index) => broken[index - 1]?.file !== file).slice(0, SHOWN);
}

function table(rows: readonly (readonly [string, string])[]): string[] {
  return rows.map(([name, value]) => `  ${name.padEnd(22)} ${value.padStart(10)}`);
}
