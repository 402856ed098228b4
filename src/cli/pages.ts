/** Lists: a table or a JSON document of as many items as were asked for, over as many pages as that takes. */
import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import type { ExitCode } from './exit-codes.js';
import { listDocument } from './json.js';
import { flag, text, whole } from './rules.js';
import type { Session } from './session.js';
import { type Column, tableOf } from './table.js';
import { UsageError } from './usage-error.js';
import { WATCH, watching } from './watching.js';

export const PAGES = {
  limit: whole('count', 'Most to show. Default 50.', 1, 1_000_000),
  pageToken: text('token', 'Go on after an earlier page, with the same filter.'),
  all: flag('Show all there are.'),
  ...WATCH,
};

export interface PageFlags {
  readonly limit: number | undefined;
  readonly pageToken: string | undefined;
  readonly all: boolean;
  readonly watch?: number | undefined;
}

export interface Page<T> {
  readonly items: readonly T[];
  readonly nextPageToken: string;
}

export type FetchPage<T> = (page: { readonly pageSize: number; readonly pageToken: string }) => Promise<Page<T>>;

const STANDARD = 50;
const LARGEST_PAGE = 1_000;

export async function listed<D extends DescMessage>(
  session: Session,
  flags: PageFlags,
  schema: D,
  columns: readonly Column<MessageShape<D>>[],
  fetch: FetchPage<MessageShape<D>>,
): Promise<ExitCode | undefined> {
  if (flags.all && flags.limit !== undefined) throw new UsageError('--all and --limit contradict each other');
  const { output } = session;
  return await watching(session, flags.watch, async () => {
    const { items, nextPageToken } = await collect(flags, fetch);
    if (output.json) return listDocument(schema, items, nextPageToken);
    if (nextPageToken) output.note(`there is more: --all, or --page-token ${nextPageToken}`);
    if (items.length === 0 && !nextPageToken) output.note('none');
    return items.length === 0 ? '' : tableOf(columns, items, output);
  });
}

/** A page may be short, or empty, and not be the last one. */
export async function collect<T>({ all, limit, pageToken }: PageFlags, fetch: FetchPage<T>): Promise<Page<T>> {
  const most = all ? Number.POSITIVE_INFINITY : (limit ?? STANDARD);
  const items: T[] = [];
  let next = pageToken ?? '';
  do {
    const page = await fetch({ pageSize: Math.min(LARGEST_PAGE, most - items.length), pageToken: next });
    items.push(...page.items);
    next = page.nextPageToken;
  } while (next !== '' && items.length < most);
  return { items, nextPageToken: next };
}
