/** What selects dead letters, as SQL over a row of the table and as its parameters. */
import { isLetterShown } from '../namespaces/shown.js';

export interface LetterFilter {
  /** Null: any, here and below. */
  readonly states: readonly number[] | null;
  readonly lanes: readonly string[] | null;
  readonly types: readonly string[] | null;
  readonly reasons: readonly number[] | null;
  readonly fingerprints: readonly string[] | null;
  readonly resolutions: readonly number[] | null;
  readonly tags: Readonly<Record<string, string>> | null;
  readonly actor: string | null;
  readonly createdFrom: Date | null;
  readonly createdBefore: Date | null;
  readonly execution: string | null;
  readonly flow: string | null;
  readonly subscriptions: readonly string[] | null;
  readonly eventTypes: readonly string[] | null;
  readonly consumers: readonly string[] | null;
}

/** Columns of the row that selects() looks at. */
export const SELECTING_COLUMNS = [
  'state',
  'lane',
  'type',
  'reason',
  'fingerprint',
  'resolution',
  'tags',
  'actor',
  'created_at',
  'execution',
  'flow',
  'subscription',
  'event_type',
  'consumer_name',
] as const;

/** And those of selectsShown(). */
export const SHOWING_COLUMNS = [...SELECTING_COLUMNS, 'closed_at'] as const;

/** Parameters $2 to $16; `d` names the row. */
export function selects(d: string): string {
  return `($2::int[] is null or ${d}.state = any ($2::int[]))
       and ($3::text[] is null or ${d}.lane = any ($3::text[]))
       and ($4::text[] is null or ${d}.type = any ($4::text[]))
       and ($5::int[] is null or ${d}.reason = any ($5::int[]))
       and ($6::text[] is null or ${d}.fingerprint = any ($6::text[]))
       and ($7::int[] is null or ${d}.resolution = any ($7::int[]))
       and ($8::jsonb is null or ${d}.tags @> $8::jsonb)
       and ($9::text is null or ${d}.actor = $9::text)
       and ($10::timestamptz is null or ${d}.created_at >= $10::timestamptz)
       and ($11::timestamptz is null or ${d}.created_at < $11::timestamptz)
       and ($12::uuid is null or ${d}.execution = $12::uuid)
       and ($13::uuid is null or ${d}.flow = $13::uuid)
       and ($14::text[] is null or ${d}.subscription = any ($14::text[]))
       and ($15::text[] is null or ${d}.event_type = any ($15::text[]))
       and ($16::text[] is null or ${d}.consumer_name = any ($16::text[]))`;
}

/** Of those, what the namespace, $1, still shows. */
export function selectsShown(d: string): string {
  return `${selects(d)}
       and ${isLetterShown(`${d}.closed_at`, '$1::int')}`;
}

export function selectingValues(filter: LetterFilter): readonly unknown[] {
  return [
    filter.states,
    filter.lanes,
    filter.types,
    filter.reasons,
    filter.fingerprints,
    filter.resolutions,
    filter.tags === null ? null : JSON.stringify(filter.tags),
    filter.actor,
    filter.createdFrom,
    filter.createdBefore,
    filter.execution,
    filter.flow,
    filter.subscriptions,
    filter.eventTypes,
    filter.consumers,
  ];
}
