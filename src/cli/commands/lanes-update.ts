/** `tailrace lanes update`: changes the settings that are named and leaves the others as they are. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  type KeyLimitSchema,
  LaneSchema,
  type LaneSettingsSchema,
  LaneState,
} from '../../../gen/tailrace/v1/lane_pb.js';
import { command, type Rule } from '../command.js';
import { fields } from '../fields.js';
import { EXPECTED, REASON, rate } from '../recurring-options.js';
import { argument, flag, span, whole } from '../rules.js';
import { done, present } from '../showing.js';
import { UsageError } from '../usage-error.js';

type Settings = MessageInitShape<typeof LaneSettingsSchema>;
type KeyLimit = MessageInitShape<typeof KeyLimitSchema>;

const SETTINGS = ['concurrency', 'rate', 'keyLimit', 'limitOfKey', 'aging', 'attemptTimeout', 'ttl'] as const;

/** Which setting `--none` takes away, under the name of its option. */
const none: Rule<readonly (typeof SETTINGS)[number][]> = {
  about: 'Take the setting of this option away. May be repeated.',
  value: '<option>',
  many: true,
  initial: [],
  choices: ['concurrency', 'rate', 'key-limit', 'limit-of-key', 'aging', 'attempt-timeout', 'ttl'],
  parse(given, before) {
    const key = SETTINGS.find((name) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`) === given);
    if (!key) throw new UsageError(`must be one of ${this.choices?.join(', ')}; it is "${given}"`);
    return [...(before ?? []), key];
  },
};

const limitOfKey: Rule<readonly KeyLimit[] | undefined> = {
  about: 'Limit and weight of single concurrency keys, in place of all there were. May be repeated.',
  value: '<key=limit[:weight]>',
  many: true,
  parse(given, before) {
    const [, key, limit, weight] = /^(.+)=(\d{1,9})(?::(\d{1,3}))?$/.exec(given) ?? [];
    if (key === undefined) throw new UsageError(`must be key=limit or key=limit:weight; it is "${given}"`);
    return [...(before ?? []), { key, limit: Number(limit), weight: Number(weight ?? 1) }];
  },
};

export const updateLane = command({
  name: 'update',
  about: 'Change settings of a lane, and make the lane if it was never used.',
  details: 'Settings that are not named stay as they are.',
  arguments: { lane: argument('lane', 'Name of the lane.', { names: 'lanes' }) },
  options: {
    concurrency: whole('count', 'How many may run at once.', 1),
    rate: rate('How many may start per window, such as 100/1m.'),
    keyLimit: whole('count', 'Limit of every concurrency key that has none of its own.', 1),
    limitOfKey,
    aging: span('Waiting raises the priority by one step per so much time. At least 1s.'),
    attemptTimeout: span('Longest time of one attempt, of executions created from now on.'),
    ttl: span('They expire unless they have started by then, of executions created from now on.'),
    none,
    drain: flag('Begin to drain: what runs may end, nothing is handed out.'),
    open: flag('Open it.'),
    ...REASON,
    ...EXPECTED,
  },
  examples: [
    ['At most 20 at once, at most 100 a minute', 'tailrace lanes update emails --concurrency 20 --rate 100/1m'],
    ['Without a limit of the rate', 'tailrace lanes update emails --none rate'],
  ],
  async run(session, given) {
    const { changes, paths } = changesOf(given);
    if (given.drain && given.open) throw new UsageError('--drain and --open contradict each other');
    const state = given.drain ? LaneState.DRAINING : given.open ? LaneState.OPEN : undefined;
    if (paths.length === 0 && state === undefined) throw new UsageError('nothing to change');
    const { lane, reason, expectedVersion } = given;
    const asked = fields({
      namespace: session.namespace,
      lane,
      settings: paths.length > 0 ? changes : undefined,
      updateMask: paths.length > 0 ? { paths } : undefined,
      state,
      reason,
      expectedVersion,
    });
    const made = present((await session.api.admin.updateLane(asked, session.bounds())).lane);
    return await done(session, LaneSchema, made, `lane ${lane} is at version ${made.version}`);
  },
});

function changesOf(given: {
  readonly concurrency: number | undefined;
  readonly rate: Settings['rateLimit'] | undefined;
  readonly keyLimit: number | undefined;
  readonly limitOfKey: readonly KeyLimit[] | undefined;
  readonly aging: Settings['agingInterval'] | undefined;
  readonly attemptTimeout: Settings['attemptTimeout'] | undefined;
  readonly ttl: Settings['ttl'] | undefined;
  readonly none: readonly (typeof SETTINGS)[number][];
}): { changes: Settings; paths: string[] } {
  const paths = {
    concurrency: 'concurrency_limit',
    rate: 'rate_limit',
    keyLimit: 'default_key_limit',
    limitOfKey: 'key_limits',
    aging: 'aging_interval',
    attemptTimeout: 'attempt_timeout',
    ttl: 'ttl',
  } as const;
  const both = given.none.find((key) => given[key] !== undefined);
  if (both) throw new UsageError(`--none ${both} contradicts a value for it`);
  const changes = fields({
    concurrencyLimit: given.concurrency,
    rateLimit: given.rate,
    defaultKeyLimit: given.keyLimit,
    keyLimits: given.limitOfKey && [...given.limitOfKey],
    agingInterval: given.aging,
    attemptTimeout: given.attemptTimeout,
    ttl: given.ttl,
  });
  const named = SETTINGS.filter((key) => given[key] !== undefined || given.none.includes(key));
  return { changes, paths: named.map((key) => paths[key]) };
}
