/**
 * Lists as tables. On a terminal a table is as wide as that at most: flexible columns give way first, the widest one
 * first, and what is cut ends with …. Elsewhere nothing is cut, so that programs that read lines see it all.
 */
import Table from 'cli-table3';
import { type Output, plain } from './output.js';

export interface Column<T> {
  readonly title: string;
  /** May be cut: words for people, not ids. */
  readonly flexible?: boolean;
  /** Numbers stand to the right. */
  readonly right?: boolean;
  /** Left out where no row has anything in it. */
  readonly spare?: boolean;
  /** The word that a state is shown in: colors it. */
  readonly state?: boolean;
  of(item: T, output: Output): string | number | bigint;
}

const LEAST = 10;
const GAP = 2;
const BARE = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: ' '.repeat(GAP),
};

export function tableOf<T>(columns: readonly Column<T>[], items: readonly T[], output: Output): string {
  const texts = items.map((item) => columns.map((column) => plain(String(column.of(item, output)))));
  const shown = columns.flatMap((column, index) =>
    column.spare && texts.every((row) => row[index] === '') ? [] : [{ column, index }],
  );
  const rows = texts.map((row) => shown.map(({ index }) => row[index] ?? ''));
  const widths = fitting(
    shown.map(({ column }, index) => ({
      width: Math.max(widthOf(column.title), ...rows.map((row) => widthOf(row[index] ?? ''))),
      flexible: column.flexible === true,
    })),
    output.width,
  );
  const table = new Table({
    chars: BARE,
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
    colWidths: widths,
    colAligns: shown.map(({ column }) => (column.right ? 'right' : 'left')),
    truncate: '…',
  });
  table.push(shown.map(({ column }) => output.style('bold', column.title.toUpperCase())));
  for (const row of rows) {
    table.push(row.map((cell, index) => (shown[index]?.column.state ? colored(cell, output) : cell)));
  }
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

const COLORS = [
  ['red', /^(FAILED|EXPIRED|HALTED|LEASE_EXPIRED|TIMED_OUT|IMPOSSIBLE)$/],
  ['green', /^(SUCCEEDED|ACTIVE|OPEN|SATISFIED|FINISHED|OK)$/],
  ['yellow', /^(PAUSED|DRAINING|SUSPENDED|CANCELING|REDRIVING|STALE|STOPPED|CANARY)$/],
  ['cyan', /^(RUNNING)$/],
] as const;

export function colored(state: string, output: Output): string {
  const color = COLORS.find(([, states]) => states.test(state))?.[0];
  return color ? output.style(color, state) : state;
}

function fitting(columns: readonly { width: number; flexible: boolean }[], room: number | undefined): number[] {
  const widths = columns.map(({ width }) => width);
  if (room === undefined) return widths;
  const sum = () => widths.reduce((total, width) => total + width, GAP * (widths.length - 1));
  const cut = (index: number) => {
    widths[index] = (widths[index] ?? 0) - 1;
  };
  for (const fits of [(column: { flexible: boolean }) => column.flexible, () => true]) {
    while (sum() > room) {
      const [widest] = widths
        .map((width, index) => ({ width, index }))
        .filter(({ width, index }) => width > LEAST && fits(columns[index] ?? { flexible: false }))
        .sort((a, b) => b.width - a.width);
      if (!widest) break;
      cut(widest.index);
    }
  }
  return widths;
}

const SEGMENTS = new Intl.Segmenter();
const WIDE =
  /\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/u;

/** Columns on a terminal. */
function widthOf(text: string): number {
  if (/^[ -~]*$/.test(text)) return text.length;
  return [...SEGMENTS.segment(text)].reduce((sum, { segment }) => sum + (WIDE.test(segment) ? 2 : 1), 0);
}
