/**
 * W3C Trace Context (https://www.w3.org/TR/trace-context/): what the two headers may say. Nothing here follows a trace.
 *
 * Version 00 is written. A later version is read by its first four fields, as the standard asks; ff is invalid.
 */

export interface TraceHeaders {
  readonly traceparent: string;
  /** Empty: none. */
  readonly tracestate: string;
}

export interface TraceParent {
  readonly traceId: string;
  readonly spanId: string;
  /** Bit 0: sampled. */
  readonly flags: number;
}

/** Of `tracestate`. The standard asks for this much to be passed on. */
export const TRACESTATE_BYTES = 512;

const PARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const ZEROS = /^0+$/;
/** Printable ASCII, spaces and tabs between members. */
const STATE = /^[\x20-\x7e\t]*$/;

/** Undefined for anything that is none. */
export function parseTraceparent(text: string): TraceParent | undefined {
  const [, version = '', traceId = '', spanId = '', flags = '', more] = PARENT.exec(text) ?? [];
  if (version === '' || version === 'ff' || (version === '00' && more !== undefined)) return undefined;
  if (ZEROS.test(traceId) || ZEROS.test(spanId)) return undefined;
  return { traceId, spanId, flags: Number.parseInt(flags, 16) };
}

/** Strictly of version 00, as it is stored and handed on. */
export function wrongTraceparent(text: string): string | undefined {
  if (text.length === 55 && text.startsWith('00-') && parseTraceparent(text)) return undefined;
  return 'must be a W3C traceparent of version 00: 00-<32 hex digits>-<16 hex digits>-<2 hex digits>, in lower case, ids not all zero';
}

export function wrongTracestate(text: string): string | undefined {
  if (!STATE.test(text)) return 'must be printable ASCII';
  return text.length > TRACESTATE_BYTES
    ? `must be at most ${TRACESTATE_BYTES} bytes long; it has ${text.length}`
    : undefined;
}

export function formatTraceparent({ traceId, spanId, flags }: TraceParent): string {
  return `00-${traceId}-${spanId}-${(flags & 0xff).toString(16).padStart(2, '0')}`;
}

/**
 * What the headers of a call or an event tell. What is malformed tells nothing: a header that some proxy has garbled must not
 * fail what it came with. A tracestate goes with its traceparent only.
 */
export function readTraceHeaders(
  get: (name: 'traceparent' | 'tracestate') => string | undefined,
): TraceHeaders | undefined {
  const given = get('traceparent');
  const parent = given === undefined ? undefined : parseTraceparent(given.trim());
  if (!parent) return undefined;
  const state = get('tracestate')?.trim() ?? '';
  return {
    traceparent: formatTraceparent(parent),
    tracestate: wrongTracestate(state) === undefined ? state : '',
  };
}
