/**
 * Proof 24: whatever is wrong with a field, the answer is INVALID_ARGUMENT and names it, and nothing was stored. The
 * cases come from the descriptors: a new RPC fails here until it has a sample, and its fields are tried by themselves.
 */
import type { Message } from '@bufbuild/protobuf';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ErrorCode, type ItemError } from '../../gen/tailrace/v1/error_pb.js';
import { type BadCase, badCasesOf } from '../support/bad-values.js';
import { type Estate, makeEstate } from '../support/estate.js';
import { type Answered, callRaw, type Refusal } from '../support/raw-call.js';
import { METHODS, nameOf, requestsTo } from '../support/sample-requests.js';
import { storedRows } from '../support/stored-rows.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

/** Fields of features that are not built yet: named with UNIMPLEMENTED when they are sent. */
const UNBUILT = new Set<string>();

const MOST = '9223372036854775807';
const MOST_INT32 = '2147483647';
const MOST_IS_FINE = { [MOST_INT32]: 'fine' };

/** What looks wrong by its type and is not: accepted, or refused for another reason that the contract states. */
const EXCEPTIONS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  // The engine's to set; what a request says is not looked at.
  'Progress.update_time': Object.fromEntries(
    ['-62135596801', '-1', '253402300800', MOST, '1 s -1', '1 s 2000000000'].map((at) => [`at ${at}`, 'fine']),
  ),
  'Payload.text': { NUL: 'fine', huge: 'PAYLOAD_TOO_LARGE' },
  'LeaseRef.fencing_token': { [MOST]: 'LEASE_LOST' },
  'RevokeLeaseRequest.fencing_token': { [MOST]: 'WRONG_STATE' },
  'ExtendFlowRequest.expected_revision': { [MOST]: 'REVISION_CONFLICT' },
  'SealFlowRequest.expected_revision': { [MOST]: 'REVISION_CONFLICT' },
  'DeadLetterRef.expected_version': { [MOST]: 'VERSION_CONFLICT' },
  'RedriveDeadLetterRequest.expected_version': { [MOST]: 'VERSION_CONFLICT' },
  'StartRedriveRequest.max_count': { [MOST]: 'fine' },
  'ReopenDeadLetterRequest.expected_version': { [MOST]: 'VERSION_CONFLICT' },
  'UpdateLaneRequest.expected_version': { [MOST]: 'VERSION_CONFLICT' },
  'PauseLaneRequest.expected_version': { [MOST]: 'VERSION_CONFLICT' },
  'ResumeLaneRequest.expected_version': { [MOST]: 'VERSION_CONFLICT' },
  // Whatever is wrong with a token, its bearer is told the same.
  'SignalExecutionRequest.waitpoint_token': Object.fromEntries(
    ['NUL', 'huge', 'garbage'].map((what) => [what, 'INVALID_WAITPOINT_TOKEN']),
  ),
  'ListMatchedSignalsRequest.suspension_number': MOST_IS_FINE,
  'ResumeExecutionRequest.suspension_number': { [MOST_INT32]: 'NOT_SUSPENDED' },
  ...Object.fromEntries(
    ['TailFrames', 'ReadFrames', 'GetFrameSummary'].map((call) => [
      `${call}Request.attempt_number`,
      { [MOST_INT32]: 'ATTEMPT_NOT_FOUND' },
    ]),
  ),
  'AppendFramesRequest.expected_count': { [MOST]: 'VERSION_CONFLICT' },
  // Publishers choose the ids of events.
  'EventSpec.event_id': { garbage: 'fine' },
  'EventSpec.cause_event_id': { garbage: 'EVENT_NOT_FOUND' },
  'GetEventRequest.event_id': { garbage: 'fine' },
  'ListEventsRequest.cause_event_id': { garbage: 'fine' },
  'GetFlowTreeRequest.root_node_id': { garbage: 'EXECUTION_NOT_FOUND' },
  ...Object.fromEntries(
    ['EventSpec', 'EmittedEvent'].flatMap((message) => [
      [`${message}.expected_stream_version`, { [MOST]: 'STREAM_VERSION_CONFLICT' }],
      [`${message}.schema_version`, MOST_IS_FINE],
    ]),
  ),
  'ReadStreamRequest.from_version': { [MOST]: 'fine' },
  'Completion.events': { 'too many': 'fine' },
  // Of a dimension that no budget knows.
  'ReportUsageRequest.usage': { [`value ${MOST}`]: 'fine' },
  'ReleaseUsageRequest.usage': { [`value ${MOST}`]: 'fine' },
  'BudgetLimit.hard_limit': { [MOST]: 'fine' },
  'PutBudgetRequest.expected_version': { [MOST]: 'VERSION_CONFLICT' },
  'ResetBudgetRequest.expected_version': { [MOST]: 'VERSION_CONFLICT' },
  'LaneSettings.concurrency_limit': MOST_IS_FINE,
  'LaneSettings.default_key_limit': MOST_IS_FINE,
  'PutSubscriptionRequest.expected_version': { [MOST]: 'VERSION_CONFLICT' },
  'DeleteSubscriptionRequest.expected_version': { [MOST]: 'VERSION_CONFLICT' },
  'PutNamespaceRequest.expected_version': { [MOST]: 'VERSION_CONFLICT' },
  'SubscriptionSpec.priority': { '-1': 'fine' },
  'PutQuotaRequest.concurrency_limit': MOST_IS_FINE,
  'AcquireConsumerRequest.generation': { [MOST]: 'GENERATION_NOT_FOUND' },
  'PromoteConsumerRequest.generation': { [MOST]: 'GENERATION_NOT_FOUND' },
  'ConsumerPartRef.generation': { [MOST]: 'EPOCH_CONFLICT' },
  'ConsumerPartRef.epoch': { [MOST]: 'EPOCH_CONFLICT' },
  // Owners choose their ids.
  ...Object.fromEntries(
    ['FetchEntries', 'CommitEntries', 'FailEntry'].map((call) => [
      `${call}Request.owner_id`,
      { garbage: 'EPOCH_CONFLICT' },
    ]),
  ),
  ...Object.fromEntries(
    ['AcquireConsumer', 'ReleaseConsumer'].map((call) => [`${call}Request.owner_id`, { garbage: 'fine' }]),
  ),
  ...Object.fromEntries(
    ['Put', 'Pause', 'Resume', 'Reset', 'Rebuild', 'Promote'].map((call) => [
      `${call}ConsumerRequest.expected_version`,
      { [MOST]: 'VERSION_CONFLICT' },
    ]),
  ),
  'RateLimit.limit': MOST_IS_FINE,
  'KeyLimit.limit': MOST_IS_FINE,
  'ExecutionSpec.priority': { '-1': 'fine' },
  'ChangeExecutionRequest.priority': { '-1': 'fine' },
  // JSON may write it; it is kept as it was written.
  'Payload.json': { 'half a surrogate pair': 'fine', deep: 'MALFORMED_REQUEST' },
  // A report is as long as it is, and its holder must be able to make it.
  'Failure.message': { NUL: 'fine', huge: 'fine', 'half a surrogate pair': 'fine' },
};
/** What is bounded as a whole, before its parts are looked at. */
const BOUNDED_WHOLE = 'condition';

/** Cursors and page tokens are opaque: what is no such thing is a bad one. */
const OPAQUE = /[._](page_token|cursor)$/;

/** Refused for what is there, not for what was sent. By then lanes and types that it named have got their numbers. */
const BY_STATE = [
  'STREAM_VERSION_CONFLICT',
  'LEASE_LOST',
  'WRONG_STATE',
  'VERSION_CONFLICT',
  'REVISION_CONFLICT',
  'NOT_SUSPENDED',
  'EPOCH_CONFLICT',
];
const NAMES = { lane: expect.anything(), claim_class: expect.anything(), version: expect.anything() };

const ABREAST = 16;
/** Nothing of an estate changes, whatever is fine. */
const READS = /\/(Get|List|Read|Count|Explain)/;

let tailrace: TestTailrace;
let client: pg.Client;
/** Of those that only read, and those whose cases are all refused: they change nothing in it. */
let shared: Promise<Estate> | undefined;
let estates = 0;
beforeAll(async () => {
  tailrace = await startTailrace({ environment: { TAILRACE_MAX_PAYLOAD_BYTES: '65536' } });
  client = new pg.Client({ connectionString: tailrace.database.url });
  await client.connect();
});
afterAll(async () => {
  await client.end();
  await tailrace.stop();
});

describe('proof 24', () => {
  test.each(METHODS.map((method) => [nameOf(method), method] as const))('%s', async (name, method) => {
    const probe = await callRaw(tailrace.url, method, '{}');
    if ('refusal' in probe && probe.refusal.detail?.reason === 'UNIMPLEMENTED') {
      expect(probe.refusal).toMatchObject({ code: 'unimplemented' });
      expect(probe.refusal.detail.metadata['procedure']).toBe(`tailrace.v1.${name}`);
      return;
    }
    const make = () => makeEstate(tailrace, `estate-${++estates}`);
    const casesAbout = (estate: Estate) => {
      const sample = requestsTo(estate).get(name);
      if (sample === undefined)
        throw new Error(`${name} is built: give it a sample in test/support/sample-requests.ts`);
      return badCasesOf(sample, (field) => UNBUILT.has(field));
    };
    shared ??= make();
    let cases = casesAbout(await shared);
    if (!READS.test(name) && cases.some((one) => expectedOf(one) === 'fine')) cases = casesAbout(await make());
    const wrong: string[] = [];
    const attempt = async (one: BadCase) => {
      const found = verdictOn(await callRaw(tailrace.url, method, one.body), one, expectedOf(one));
      if (found !== undefined) wrong.push(`${one.path} (${one.field}), ${one.what}: ${found}`);
    };
    const attemptAll = async (isMeant: (expected: string) => boolean, abreast = 1) => {
      const meant = cases.filter((one) => isMeant(expectedOf(one)));
      for (let i = 0; i < meant.length; i += abreast) await Promise.all(meant.slice(i, i + abreast).map(attempt));
      expect(wrong).toEqual([]);
    };
    const stored = () => storedRows(client, tailrace.database);
    const before = await stored();
    await attemptAll((expected) => expected !== 'fine' && !BY_STATE.includes(expected), ABREAST);
    expect(await stored()).toEqual(before);
    await attemptAll((expected) => BY_STATE.includes(expected));
    expect(await stored()).toEqual({ ...before, ...NAMES });
    await attemptAll((expected) => expected === 'fine');
  });
});

/** `named`: INVALID_ARGUMENT that names the field. */
function expectedOf({ field, path, what }: BadCase): string {
  if (what === 'sent') return 'UNIMPLEMENTED';
  // What is declared for later cannot know which version a stream will have.
  if (field === 'EmittedEvent.expected_stream_version' && path.includes('failure_events')) return 'named';
  if (OPAQUE.test(field) && what === 'garbage') return 'BAD_CURSOR';
  // What is not held is passed over by a release.
  if (field.startsWith('ConsumerPartRef.') && path.startsWith('parts') && what === MOST) return 'fine';
  return EXCEPTIONS[field]?.[what] ?? 'named';
}

function verdictOn(answer: Answered, one: BadCase, expected: string): string | undefined {
  const refusal = 'refusal' in answer ? answer.refusal : itemRefusal(answer.message);
  if (expected === 'fine') return refusal?.code === 'internal' ? 'is INTERNAL' : undefined;
  if (refusal === undefined) return 'was accepted';
  const { reason = '', metadata = {}, fieldViolations = [] } = refusal.detail ?? {};
  const isRight =
    expected === 'named'
      ? isNamed(refusal, one)
      : reason === expected && (one.what !== 'sent' || metadata['field'] === one.path);
  if (isRight) return undefined;
  return `${reason} [${fieldViolations.map(({ field }) => field)}] ${refusal.message.slice(0, 160)}`;
}

function isNamed({ code, detail }: Refusal, { field, path, what }: BadCase): boolean {
  if (code !== 'invalid_argument' || detail === undefined) return false;
  if (OPAQUE.test(field) && detail.reason === 'BAD_CURSOR') return true;
  const named = detail.fieldViolations.map(({ field }) => field);
  if (named.some((at) => at === path || at.startsWith(`${path}[`) || at.startsWith(`${path}.`))) return true;
  if (/^(huge|too many)$/.test(what) && path.startsWith(`${BOUNDED_WHOLE}.`) && named.includes(BOUNDED_WHOLE))
    return true;
  // What cannot even be decoded is named by its own name alone, or, where the decoder does not know it, in words.
  if (!/^JSON|^no UTF-8|surrogate/.test(what)) return false;
  if (detail.reason === 'MALFORMED_REQUEST') return true;
  const own = path
    .replace(/\[\d+\]$/, '')
    .split('.')
    .at(-1);
  return named.some((at) => at === own);
}

/** A batch of one answers per item. */
function itemRefusal(message: Message): Refusal | undefined {
  const { results } = message as Message & { results?: { result: { case?: string; value?: unknown } }[] };
  const [item] = results ?? [];
  if (item?.result.case !== 'error') return undefined;
  const { code, message: text, detail } = item.result.value as ItemError;
  return { code: (ErrorCode[code] ?? '').toLowerCase(), message: text, detail };
}
