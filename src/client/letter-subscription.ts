/** What a caller writes to have dead letters handed to a handler, and the message made from it. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { LogEntryKind, LogFilterSchema } from '../../gen/tailrace/v1/log_pb.js';
import type { SubscriptionSpecSchema } from '../../gen/tailrace/v1/subscription_pb.js';
import type { NewExecution } from './execution-spec.js';
import { type SubscriptionRules, toSubscriptionSpec } from './subscription-spec.js';

/** Of what was given up; all that is said must hold. */
export interface LetterConditions {
  /** One of these lanes. Up to 256. */
  readonly lanes?: readonly string[];
  /** One of these types, of executions or events. Up to 256. */
  readonly types?: readonly string[];
  /** Tags it must have, with these values. */
  readonly tags?: Readonly<Record<string, string>>;
  readonly flowId?: string;
}

type Inherited = 'priority' | 'delayMs' | 'ttlMs' | 'attemptTimeoutMs' | 'retry' | 'requiredCapabilities' | 'tags';

/** What the handlers' executions are like; `tags` go over those of the letter, a delay begins with the letter. */
export type LetterRules = Pick<NewExecution, Inherited> & Pick<SubscriptionRules, 'deadlineMs'>;

export interface NewLetterSubscription extends LetterRules {
  /** Unique in the namespace. 1 to 200 bytes. */
  readonly name: string;
  /** Every letter that is opened from then on and meets these; `{}` is all of the namespace. */
  readonly deadLetters: LetterConditions;
  /** Type of the executions: names the handler. 1 to 200 bytes. */
  readonly type: string;
  /** Lane of the executions. Default `default`. */
  readonly lane?: string;
}

export function toLetterSubscriptionSpec({
  deadLetters: { lanes = [], types = [], tags = {}, flowId = '' },
  ...asked
}: NewLetterSubscription): MessageInitShape<typeof SubscriptionSpecSchema> {
  const kinds = [LogEntryKind.DEAD_LETTER_OPENED];
  const filter = create(LogFilterSchema, { kinds, lanes: [...lanes], types: [...types], tags: { ...tags }, flowId });
  return { ...toSubscriptionSpec(undefined, { ...asked, events: '*' }), filter };
}
