/** `tailrace quotas …` */
import { durationMs } from '@bufbuild/protobuf/wkt';
import { type Quota, QuotaSchema } from '../../../gen/tailrace/v1/budget_pb.js';
import { command, group } from '../command.js';
import { fields } from '../fields.js';
import { listed, PAGES } from '../pages.js';
import { rate } from '../recurring-options.js';
import { flag, text, whole } from '../rules.js';
import { done, present } from '../showing.js';
import { spanText } from '../spans.js';
import type { Column } from '../table.js';
import { UsageError } from '../usage-error.js';

const COLUMNS: readonly Column<Quota>[] = [
  { title: 'of', flexible: true, of: ({ lane }) => (lane ? `lane ${lane}` : 'the namespace') },
  {
    title: 'running',
    right: true,
    of: ({ runningCount, concurrencyLimit }) => `${runningCount}/${concurrencyLimit || '∞'}`,
  },
  {
    title: 'started',
    right: true,
    of: ({ startedCount, rateLimit }) => (rateLimit ? `${startedCount}/${rateLimit.limit}` : ''),
  },
  {
    title: 'window',
    right: true,
    of: ({ rateLimit }) => (rateLimit?.window ? spanText(durationMs(rateLimit.window)) : ''),
  },
  { title: 'room', spare: true, of: ({ retryTime }, output) => output.time(retryTime) },
];

const list = command({
  name: 'list',
  about: 'List the quotas of the namespace and its lanes, with their present use.',
  options: PAGES,
  examples: [['Every second', 'tailrace quotas list --watch=1']],
  run: (session, given) =>
    listed(session, given, QuotaSchema, COLUMNS, async (page) => {
      const { quotas: items, nextPageToken } = await session.api.admin.listQuotas(
        { namespace: session.namespace, ...page },
        session.bounds(),
      );
      return { items, nextPageToken };
    }),
});

const put = command({
  name: 'put',
  about: 'Set the quota of the namespace or of a lane, in place of the one there was.',
  options: {
    lane: text('lane', 'Of this lane. Default: of the namespace.', { names: 'lanes' }),
    concurrency: whole('count', 'How many may run at once. Default: no limit.', 1),
    rate: rate('How many may start per window, such as 100/1m. Default: no limit.'),
    unlimited: flag('Take the quota away.'),
  },
  examples: [
    ['Of the namespace', 'tailrace quotas put --concurrency 200 --rate 1000/1m'],
    ['None for a lane', 'tailrace quotas put --lane emails --unlimited'],
  ],
  async run(session, { lane, concurrency, rate: rateLimit, unlimited }) {
    const limited = concurrency !== undefined || rateLimit !== undefined;
    if (limited === unlimited) throw new UsageError('say --concurrency, --rate or both; or --unlimited');
    const asked = fields({ namespace: session.namespace, lane, concurrencyLimit: concurrency, rateLimit });
    const made = present((await session.api.admin.putQuota(asked, session.bounds())).quota);
    return await done(session, QuotaSchema, made, `the quota of ${lane ? `lane ${lane}` : 'the namespace'} is set`);
  },
});

export const quotas = group('quotas', 'How much may run or start at once.', [list, put]);
