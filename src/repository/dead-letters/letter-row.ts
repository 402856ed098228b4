/** A dead letter as it is read. */

/** `inline`: expression, the size up to which the inputs come along; `whole`: whether failure details do. */
export function letterColumns(inline: string, whole: string): string {
  return `d.id, d.subject::int as subject, d.execution, d.last_execution, d.reason::int as reason, d.lane, d.type, d.flow,
     d.event_id, d.event_type, d.subscription,
     d.tags, d.input_type, case when octet_length(d.input) <= ${inline} then d.input end as input,
     coalesce(octet_length(d.input) > ${inline}, false) as input_omitted,
     d.edited_type, case when octet_length(d.edited) <= ${inline} then d.edited end as edited,
     d.failure_class, d.failure_code, d.message, case when ${whole} then d.details_type end as details_type,
     case when ${whole} then d.details end as details, d.fingerprint, d.attempts, d.first_failure_at, d.last_failure_at,
     d.redrives, d.redrive, d.last_redrive_at, d.state::int as state, d.resolution, d.actor, d.note, d.version, d.created_at,
     d.closed_at, d.namespace, d.consumer_name, d.generation, d.part, d.position, d.entry_key, d.follower,
     case when d.subject = 3 then (select i.id from {schema}.log_incarnation i) end as incarnation`;
}

export interface LetterRow {
  readonly id: string;
  /** 1: an execution, 2: an event, 3: an entry of a consumer. */
  readonly subject: number;
  /** The first run, and the newest: the first one, or its latest redrive. */
  readonly execution: string | null;
  readonly last_execution: string | null;
  readonly reason: number;
  readonly lane: string;
  readonly type: string;
  readonly flow: string | null;
  /** The event it is about, or the one its execution reacted to; as it is known outside. */
  readonly event_id: string | null;
  readonly event_type: string | null;
  /** That made the execution. */
  readonly subscription: string | null;
  readonly tags: Readonly<Record<string, string>>;
  readonly input_type: string | null;
  readonly input: Buffer | null;
  readonly input_omitted: boolean;
  readonly edited_type: string | null;
  readonly edited: Buffer | null;
  readonly failure_class: number | null;
  readonly failure_code: string | null;
  readonly message: string;
  readonly details_type: string | null;
  readonly details: Buffer | null;
  readonly fingerprint: string;
  readonly attempts: number;
  readonly first_failure_at: Date;
  readonly last_failure_at: Date;
  readonly redrives: number;
  /** The bulk redrive that made the last one. */
  readonly redrive: string | null;
  readonly last_redrive_at: Date | null;
  readonly state: number;
  readonly resolution: number | null;
  readonly actor: string;
  readonly note: string;
  readonly version: bigint;
  readonly created_at: Date;
  readonly closed_at: Date | null;
  readonly namespace: number;
  /** Of a parked entry, here and below; null for others. */
  readonly consumer_name: string | null;
  readonly generation: bigint | null;
  readonly part: number | null;
  readonly position: bigint | null;
  /** What it holds, or held; null where it held nothing. */
  readonly entry_key: string | null;
  /** Parked only because an earlier one of its key is. */
  readonly follower: boolean;
  /** Which log it stands in. */
  readonly incarnation: string | null;
}
