/** An entry with what readers want to know beside it. One object per entry, shared by all watchers of the process. */
import { isTerminal } from '../domain/states.js';
import type { EventRow } from '../repository/events/index.js';
import type { FlowNames, LogEntry } from '../repository/log/index.js';
import type { KnownExecution } from './source.js';

const FIXED_BYTES = 256;
const EVENT_PUBLISHED = 30;
/** The kinds flow.*, by the contract's numbers. */
const FLOW_KINDS = { first: 40, last: 49 } as const;
/** flow.sealed, settled and canceled. */
const MILESTONES: ReadonlySet<number> = new Set([42, 43, 45]);

export class LogRecord {
  /** The execution's tags, times and outcome; undefined until somebody wanted them, or when retention took them. */
  detail: KnownExecution | undefined;
  /** Name and tags of the flow, where the entry speaks of the flow itself; undefined as `detail` is. */
  flow: FlowNames | undefined;
  /** The event that was published; undefined as `detail` is. Its position is the entry's. */
  event: EventRow | undefined;
  readonly #executionType: string;
  /** Few; kept here, since a weak map of as many records as pass costs the collector more than making them again. */
  #forms: { readonly maker: unknown; readonly key: number; readonly form: unknown }[] | undefined;

  constructor(
    readonly entry: LogEntry,
    readonly namespace: string,
    /** Empty where the entry concerns no lane or type. */
    readonly lane: string,
    type: string,
  ) {
    this.#executionType = type;
  }

  /** What `maker` has made of it for readers of this kind; undefined until then. */
  formOf(maker: unknown, key: number): unknown {
    return this.#forms?.find((made) => made.maker === maker && made.key === key)?.form;
  }

  keepForm(maker: unknown, key: number, form: unknown): void {
    this.#forms ??= [];
    this.#forms.push({ maker, key, form });
  }

  /** Of the execution, or of the event once it is read; empty where the entry concerns neither. */
  get type(): string {
    return this.event?.type ?? this.#executionType;
  }

  /** It tells of an event; the execution it names emitted it. */
  get ofEvent(): boolean {
    return this.entry.kind === EVENT_PUBLISHED;
  }

  /** The internal id of that event. */
  get eventId(): string | undefined {
    if (!this.ofEvent || this.entry.body === null) return undefined;
    return (JSON.parse(this.entry.body) as { event?: string }).event;
  }

  /** The end of an execution. */
  get terminal(): boolean {
    return this.entry.to !== null && isTerminal(this.entry.to);
  }

  /** It speaks of a flow itself, not of a member. */
  get ofFlow(): boolean {
    return this.entry.kind >= FLOW_KINDS.first && this.entry.kind <= FLOW_KINDS.last;
  }

  /** The flow may have settled or ended with it. */
  get milestone(): boolean {
    return MILESTONES.has(this.entry.kind);
  }

  /** Nothing beside the entry is left to read. */
  get detailed(): boolean {
    return this.detail !== undefined || this.flow !== undefined || this.event !== undefined;
  }

  /** Of its subject: the execution, the flow, or the event. */
  get tags(): Readonly<Record<string, string>> {
    return this.detail?.tags ?? this.flow?.tags ?? this.event?.tags ?? {};
  }

  /** What it takes in a buffer, about. */
  get bytes(): number {
    const { detail, entry, event } = this;
    const contents = (detail?.outcome?.result?.length ?? 0) + (event?.payload?.length ?? 0);
    return FIXED_BYTES + (entry.body?.length ?? 0) + contents;
  }
}
