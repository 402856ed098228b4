/**
 * What the port permits. The lengths of time are the same for everybody; what depends on the machine is a setting
 * (config.ts). Tests make them small.
 */
export interface PortLimits {
  /** Connections at once. */
  readonly connections: number;
  /** Of these, from one remote address. 0: no limit of its own. */
  readonly connectionsPerAddress: number;
  /** For the first bytes of a connection, and for the head of a request over HTTP/1.1. */
  readonly headMs: number;
  /** Until the first call of an HTTP/2 connection. */
  readonly firstCallMs: number;
  /** An HTTP/2 connection without calls is closed after this. Longer than clients keep theirs: who closes, knows. */
  readonly idleMs: number;
  /** How often an HTTP/2 peer is asked for a sign of life, and how long it may take to give one. */
  readonly pingMs: number;
  /** Bytes of request bodies at once, as they came and again as they were inflated. */
  readonly bufferedBytes: number;
  /** For a body, whatever its size; then it has to keep the rate below. */
  readonly bodyGraceMs: number;
  /** For a client to take its answer, the same way. */
  readonly answerGraceMs: number;
  /** For the reader of a stream to take the next message. */
  readonly streamGraceMs: number;
  readonly leastBytesPerSecond: number;
}

export interface CallLimits {
  /** Calls at work at once: what finishes work may use all of it, new work half, everything else three quarters. */
  readonly calls: number;
  /** Of these, by one caller, what finishes work not counted: whoever takes them all, slowly, leaves room for others. */
  readonly callsPerCaller: number;
  /** Streams and calls that wait, at once. */
  readonly waiting: number;
  /** Of these, by one caller. */
  readonly waitingPerCaller: number;
  /** Calls at once on one connection, of any kind. */
  readonly perConnection: number;
  /** By one caller; 0: no limit. Bursts of two seconds' worth are let pass. */
  readonly perSecond: number;
  /** New work is refused while the process's timers are this late. */
  readonly lateMs: number;
  /** New work is refused while more statements than this wait for a connection to the database. */
  readonly queuedStatements: number;
}

export const PORT_LIMITS: PortLimits = {
  connections: 10_000,
  connectionsPerAddress: 2_000,
  headMs: 10_000,
  firstCallMs: 30_000,
  idleMs: 16 * 60_000,
  pingMs: 25_000,
  bufferedBytes: 256 * 1024 * 1024,
  bodyGraceMs: 15_000,
  answerGraceMs: 60_000,
  streamGraceMs: 5 * 60_000,
  leastBytesPerSecond: 8 * 1024,
};

export const CALL_LIMITS: CallLimits = {
  calls: 4_000,
  callsPerCaller: 1_500,
  waiting: 10_000,
  waitingPerCaller: 5_000,
  perConnection: 1_000,
  perSecond: 0,
  lateMs: 500,
  queuedStatements: 400,
};
