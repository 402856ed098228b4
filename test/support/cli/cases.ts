/**
 * One case for every command of the command line: the words to type, and what is to be seen then. Each runs twice, for
 * people and for programs; what changes something makes what it changes anew.
 */
import type { Estate } from '../estate.js';

/** Makes what a case uses up. */
export interface Fresh {
  queued(): Promise<string>;
  running(): Promise<string>;
  parked(): Promise<string>;
  flow(): Promise<string>;
  letter(): Promise<string>;
  token(): Promise<string>;
}

export interface Case {
  words(estate: Estate, fresh: Fresh): readonly string[] | Promise<readonly string[]>;
  /** In what people see, on either stream. */
  sees(estate: Estate): string | RegExp;
  /** A key of the document for programs. Default: `items`. */
  readonly key?: string;
  /** A line of its own per message. */
  readonly lines?: boolean;
  readonly stdin?: (estate: Estate) => string;
  /** Default 0. */
  readonly code?: number;
}

const EXECUTIONS: Record<string, Case> = {
  'executions list': { words: () => ['--all'], sees: ({ queued }) => queued },
  'executions get': { words: ({ queued }) => [queued], sees: ({ secret }) => `input ${secret}`, key: 'executionId' },
  'executions create': {
    words: () => [
      'made',
      '--lane',
      'nobody',
      '--input',
      '{"a":1}',
      '--tag',
      'a=b',
      '--max-attempts',
      '2',
      '--ttl',
      '1h',
    ],
    sees: () => /^[0-9a-f-]{36}\n$/,
    key: 'executionId',
  },
  'executions cancel': {
    words: async (_, fresh) => [await fresh.queued(), '--reason', 'wrong', '--wait', '1s'],
    sees: () => /ENDED, now CANCELED/,
    key: 'execution',
  },
  'executions attempts': { words: ({ lane }) => ['--lane', lane], sees: () => /FAILED.*failure secret/ },
  'executions explain': { words: ({ queued }) => [queued], sees: () => /^QUEUED: /, key: 'summary' },
  'executions change': {
    words: ({ queued }) => [queued, '--priority', '-3', '--run-at', '+0s'],
    sees: () => /is QUEUED, priority -3/,
    key: 'execution',
  },
  'executions revoke': {
    words: async (_, fresh) => [await fresh.running(), '--reason', 'it hangs'],
    sees: () => /was taken from \S+ and is QUEUED/,
    key: 'revokedLease',
  },
  'executions resume': {
    words: async (_, fresh) => [await fresh.parked(), '--signal', 'approved', '--input', '{}', '--note', 'by hand'],
    sees: () => /goes on: QUEUED/,
    key: 'state',
  },
  'executions await': { words: ({ succeeded }) => [succeeded], sees: () => /SUCCEEDED/, key: 'executions' },
  explain: { words: ({ keyed }) => [keyed], sees: () => /CONCURRENCY_KEY/, key: 'holds' },
  'suspensions list': { words: () => [], sees: ({ suspended }) => suspended },
  'waitpoints list': { words: () => [], sees: ({ waitpoint }) => waitpoint.key },
  'waitpoints rotate-secret': { words: () => ['--grace', '1h', '--yes'], sees: () => /the secret is/, key: 'keyId' },
  signal: {
    words: ({ suspended, waitpoint }) => [
      'more',
      suspended,
      '--waitpoint',
      waitpoint.key,
      '--input',
      '1',
      '--from',
      'me',
    ],
    sees: () => /more: (APPENDED|BUFFERED|IGNORED)/,
    key: 'effect',
  },
};

const FLOWS: Record<string, Case> = {
  'flows list': { words: () => ['--state', 'active'], sees: ({ flow }) => flow.id },
  'flows get': { words: ({ flow }) => [flow.id], sees: () => /open join count/, key: 'flowId' },
  'flows tree': { words: ({ event }) => [event.flow], sees: ({ reaction }) => new RegExp(`└─ .*${reaction}`) },
  'flows members': { words: ({ flow }) => [flow.id], sees: ({ member }) => member.executionId },
  'flows edges': { words: ({ flow }) => [flow.id], sees: ({ flow }) => flow.downstream },
  'flows joins': { words: ({ flow }) => [flow.id], sees: () => /EDGES +ALL +OPEN/ },
  'flows failed': { words: () => ['--since', '1h'], sees: ({ secret }) => `failed member ${secret}` },
  'flows watch': {
    words: async (_, fresh) => [await fresh.flow()],
    sees: () => /is CANCELED/,
    key: 'flowId',
    lines: true,
    code: 1,
  },
  'flows cancel': {
    words: ({ flow }) => [flow.id, '--pending-only'],
    sees: () => /is (CANCELING|ACTIVE|FAILED)/,
    key: 'state',
  },
  'flows seal': { words: ({ flow }) => [flow.id], sees: () => /is sealed/, key: 'revision' },
};

const EVENTS: Record<string, Case> = {
  'events publish': {
    words: () => ['said', '--input-file', '-', '--stream', 'talk', '--tag', 'a=b', '--header', 'c=d'],
    stdin: () => '{"text":"hello"}',
    sees: () => /^[0-9a-f-]{36}\n$/,
    key: 'eventId',
  },
  'events get': { words: ({ event }) => [event.id], sees: ({ event }) => event.stream, key: 'event' },
  'events list': { words: ({ event }) => ['--type', event.type, '--since', '1h'], sees: ({ event }) => event.id },
  'events stream': { words: ({ event }) => [event.stream, '--backward'], sees: ({ event }) => event.id },
  'subscriptions list': {
    words: ({ event }) => ['--event-type', event.type],
    sees: ({ subscription }) => subscription,
  },
  'subscriptions get': { words: ({ subscription }) => [subscription], sees: () => /version/, key: 'spec' },
  'subscriptions put': {
    words: () => ['-'],
    stdin: () => '{"name":"put","filter":{"eventTypes":["x"]},"type":"y"}',
    sees: () => /subscription put is at version 1/,
    key: 'subscription',
  },
  'subscriptions delete': { words: () => ['put', '--yes'], sees: () => /subscription put/, key: 'deleted' },
  'log tail': {
    words: ({ succeeded }) => ['--from', 'earliest', '--kind', 'execution-*', '--execution', succeeded, '--limit', '2'],
    sees: ({ succeeded }) => new RegExp(`EXECUTION_SUCCEEDED .*${succeeded} RUNNING→SUCCEEDED`),
    key: 'cursor',
    lines: true,
  },
  'log list': {
    words: ({ succeeded }) => ['--execution', succeeded, '--oldest-first'],
    sees: () => /EXECUTION_CREATED/,
  },
  'completions tail': {
    words: () => ['--from', 'earliest', '--state', 'failed', '--limit', '1'],
    sees: () => /FAILED .*failure secret/,
    key: 'executionId',
    lines: true,
  },
  'consumers list': { words: () => ['--state', 'active'], sees: ({ consumer }) => consumer.name },
  'consumers get': { words: ({ consumer }) => [consumer.name], sees: () => /last failure\n/, key: 'parts' },
  'consumers put': {
    words: () => ['-'],
    stdin: () => '{"name":"put","partCount":2}',
    sees: () => /consumer put is at version 1/,
    key: 'spec',
  },
  'consumers pause': { words: () => ['put', '--reason', 'no'], sees: () => /put is PAUSED/, key: 'stateReason' },
  'consumers resume': { words: () => ['put'], sees: () => /put is ACTIVE/, key: 'state' },
  'consumers reset': { words: () => ['put', '--since', '1h', '--yes'], sees: () => /put is ACTIVE/, key: 'version' },
  'consumers rebuild': {
    words: () => ['put', '--from', 'latest', '--parts', '3'],
    sees: () => /builds generation/,
    key: 'generation',
  },
  'consumers promote': {
    words: () => ['put', '--generation', '3'],
    sees: () => /generation 3 of consumer put is live/,
    key: 'generations',
  },
};

const LETTERS: Record<string, Case> = {
  'dead-letters list': { words: () => ['--state', 'open', '--all'], sees: ({ letter }) => letter.id },
  'dead-letters groups': { words: ({ lane }) => ['--lane', lane], sees: () => /PERMANENT.*failure secret/ },
  'dead-letters show': {
    words: ({ letter }) => [letter.id],
    sees: () => /ATTEMPT +OUTCOME[\s\S]*FAILED/,
    key: 'attempts',
  },
  'dead-letters stats': { words: () => [], sees: () => /\d+ open, \d+ redriving/, key: 'ages' },
  'dead-letters count': { words: () => ['--state', 'open'], sees: () => /^\d+\n$/, key: 'count' },
  'dead-letters redrive': {
    words: async (_, fresh) => [await fresh.letter(), '--input', '{"fixed":true}', '--note', 'fixed'],
    sees: () => /^[0-9a-f-]{36}\n$/,
    key: 'executionId',
  },
  'dead-letters redrive-many': {
    words: async ({ mark }, fresh) => {
      await fresh.letter();
      return ['--lane', `letters-${mark}`, '--dry-run'];
    },
    sees: () => /1 dead letters would be redriven at 100 per second/,
    key: 'redrive',
  },
  'dead-letters redrives get': { words: ({ redrive }) => [redrive], sees: () => /FINISHED/, key: 'redriveId' },
  'dead-letters redrives stop': {
    words: ({ redrive }) => [redrive],
    sees: () => /FINISHED: 0 of 0 started/,
    key: 'redriveId',
  },
  'dead-letters resolve': {
    words: async (_, fresh) => [await fresh.letter(), '--as', 'handled-by-script', '--note', 'by hand'],
    sees: () => /is closed: HANDLED_BY_SCRIPT/,
    key: 'results',
  },
  'dead-letters reopen': { words: ({ letter }) => [letter.id], sees: () => /is open again/, key: 'state' },
  'dead-letters purge': {
    words: () => ['--closed-before', '2h', '--yes'],
    sees: () => /^0 deleted/,
    key: 'purgedCount',
  },
};

const LIMITS: Record<string, Case> = {
  'lanes list': { words: () => ['--all'], sees: ({ lane }) => lane },
  'lanes get': { words: ({ lane }) => [lane], sees: () => /counts/, key: 'counts' },
  'lanes update': {
    words: () => [
      'slow',
      '--concurrency',
      '2',
      '--rate',
      '10/1m',
      '--limit-of-key',
      'k=1:2',
      '--none',
      'aging',
      '--drain',
    ],
    sees: () => /lane slow is at version/,
    key: 'settings',
  },
  'lanes pause': { words: () => ['slow', '--reason', 'no'], sees: () => /lane slow is PAUSED/, key: 'stateReason' },
  'lanes resume': { words: () => ['slow'], sees: () => /lane slow is OPEN and hands out/, key: 'state' },
  'workers list': { words: ({ lane }) => ['--lane', lane], sees: ({ worker }) => worker.instanceId },
  'workers drain': {
    words: ({ worker }) => [worker.name, '--undo'],
    sees: () => /may take work again/,
    key: 'workers',
  },
  'budgets list': { words: () => ['--exhausted'], sees: ({ mark }) => `nothing-${mark}` },
  'budgets get': { words: ({ budget }) => [budget], sees: () => /coins/, key: 'uses' },
  'budgets put': {
    words: () => ['-'],
    stdin: () => '{"spec":{"name":"put","limits":{"coins":{"hardLimit":"5"}}}}',
    sees: () => /budget put is at version 1/,
    key: 'spec',
  },
  'budgets reset': { words: () => ['put', '--yes'], sees: () => /budget put: coins 0\/5/, key: 'uses' },
  'quotas list': { words: () => [], sees: () => /the namespace +\d+\/10000/ },
  'quotas put': {
    words: () => ['--lane', 'slow', '--concurrency', '9'],
    sees: () => /the quota of lane slow is set/,
    key: 'lane',
  },
};

const OPERATING: Record<string, Case> = {
  stats: { words: () => ['--lanes'], sees: () => /executions created +\d+/, key: 'createdCount' },
  'server info': { words: () => [], sees: () => /database version/, key: 'version' },
  'server health': { words: () => [], sees: () => /is SERVING/, key: 'status' },
  storage: { words: () => [], sees: () => /in all/, key: 'tables' },
  'retention run': { words: () => ['--dry-run'], sees: () => /would go: \d+ executions/, key: 'retiredExecutionCount' },
  'namespaces list': { words: () => ['-n', '*', '--all'], sees: ({ namespace }) => namespace },
  'namespaces put': {
    words: () => ['other', '--description', 'The other one', '--keep-executions', '7d'],
    sees: () => /namespace other is at version/,
    key: 'settings',
  },
  'tokens list': { words: () => [], sees: ({ token }) => token },
  'tokens create': {
    words: () => ['fresh', '--role', 'worker,client', '--expiry', '1h'],
    sees: () => /^tr_[\w-]{22}_[\w-]{43}$/m,
    key: 'secret',
  },
  'tokens revoke': {
    words: async (_, fresh) => [await fresh.token(), '--yes'],
    sees: () => /is revoked/,
    key: 'revokeTime',
  },
};

const HERE: Record<string, Case> = {
  serve: { words: () => ['--settings'], sees: () => /^TAILRACE_PORT +\S/m, key: '0' },
  migrate: { words: () => [], sees: () => /nothing to do/, key: 'applied' },
  verify: { words: () => [], sees: () => /all \d+ rules hold/, key: 'rules' },
  bootstrap: { words: () => ['--again'], sees: () => /^tr_[\w-]{22}_[\w-]{43}$/m, key: 'secret' },
  // On a restored database: test/e2e/restore.test.ts.
  restored: { words: () => [], sees: () => /stop them first/, key: 'message', code: 1 },
  doctor: { words: () => [], sees: () => /0 problems/, key: 'findings' },
};

const PROFILES: Record<string, Case> = {
  'profile add': {
    words: () => ['one', '--url', 'http://127.0.0.1:1'],
    sees: () => /profile one is in .*, and in use/,
  },
  'profile list': { words: () => [], sees: () => /\* +one +http:\/\/127\.0\.0\.1:1/ },
  'profile use': { words: () => ['one'], sees: () => /profile one is in use/ },
  'profile remove': { words: () => ['one', '--yes'], sees: () => /profile one .*forgotten|there is no profile one/ },
};

const COMPLETION: Record<string, Case> = {
  'completion bash': { words: () => [], sees: () => /complete -o default -F _tailrace tailrace/ },
  'completion zsh': { words: () => [], sees: () => /^#compdef tailrace/ },
  'completion fish': { words: () => [], sees: () => /complete -c tailrace/ },
  'completion names': { words: () => ['consumers'], sees: ({ consumer }) => consumer.name },
};

/** In an order in which each finds what it needs. */
export const CASES: Readonly<Record<string, Case>> = {
  ...EXECUTIONS,
  ...FLOWS,
  ...EVENTS,
  ...LETTERS,
  ...LIMITS,
  ...OPERATING,
  ...HERE,
  ...PROFILES,
  ...COMPLETION,
};

/** They print words for shells or change a file, and have no document. */
export const WITHOUT_DOCUMENT: readonly string[] = [
  ...Object.keys(COMPLETION),
  'profile add',
  'profile use',
  'profile remove',
];
