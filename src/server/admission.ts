/**
 * Whether a call gets in. Asked twice: before anything of it is read, by what the server has to do; and once its caller is
 * known, by what that caller has under way. What gets in is counted until it is over.
 *
 * Quick calls share one limit, of which new work may fill half, what finishes work all of it, everything else three
 * quarters. Streams and calls that wait cost little but memory and have a limit of their own. New work is also refused
 * while the process is late or the database has a queue; then nothing else is.
 */
import type { DescMethod } from '@bufbuild/protobuf';
import { EngineError } from '../domain/errors.js';
import { CallRates } from './call-rates.js';
import type { Usage } from './connection-use.js';
import type { CallLimits } from './limits.js';
import { overloaded } from './overload.js';
import { type Urgency, urgencyOf } from './urgency.js';

/** What is looked at before new work is let in. */
export interface Load {
  /** By how many milliseconds the process is late. */
  readonly lateMs: () => number;
  /** Statements that wait for a connection to the database. */
  readonly queuedStatements: () => number;
}

const SHARES = { finishes: 1, usual: 0.75, brings: 0.5 } as const;
const WAIT_RETRY_MS = 2_000;

export interface Admitted {
  /** Once; throws OVERLOADED or TOO_MANY_STREAMS. `caller` names a token, a certificate or an address. */
  charge(caller: () => string): void;
  leave(): void;
}

export class Admission {
  readonly #limits: CallLimits;
  readonly #load: Load;
  readonly #rates: CallRates;
  readonly #waitingBy = new Map<string, number>();
  readonly #callsBy = new Map<string, number>();
  #calls = 0;
  #waiting = 0;

  constructor(limits: CallLimits, load: Load) {
    this.#limits = limits;
    this.#load = load;
    this.#rates = new CallRates(limits.perSecond);
  }

  /** Quick calls under way. */
  get calls(): number {
    return this.#calls;
  }

  /** Streams and waiting calls under way. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Throws OVERLOADED or TOO_MANY_STREAMS; then there is nothing to leave. */
  enter(method: DescMethod, connection: Usage): Admitted {
    const urgency = urgencyOf(method);
    this.#refuse(urgency, connection);
    const waits = urgency === 'waits';
    if (waits) this.#waiting++;
    else this.#calls++;
    connection.calls++;
    let charged: string | undefined;
    return {
      charge: (caller) => {
        if (urgency === 'probe' || (urgency === 'finishes' && this.#limits.perSecond === 0)) return;
        const name = caller();
        this.#rates.spend(name, urgency === 'finishes');
        if (urgency === 'finishes') return;
        if (waits) this.#wait(name);
        else this.#work(name);
        charged = name;
      },
      leave: () => {
        if (waits) this.#waiting--;
        else this.#calls--;
        connection.calls--;
        if (charged !== undefined) countDown(waits ? this.#waitingBy : this.#callsBy, charged);
      },
    };
  }

  #refuse(urgency: Urgency, connection: Usage): void {
    const { calls, waiting, perConnection, lateMs, queuedStatements } = this.#limits;
    if (urgency === 'probe') return;
    if (connection.calls >= perConnection) {
      if (urgency === 'waits') throw tooMany('connection', perConnection);
      throw overloaded('requests', `a connection may have ${perConnection} calls at once`);
    }
    if (urgency === 'waits') {
      if (this.#waiting >= waiting) throw tooMany('server', waiting);
      return;
    }
    if (this.#calls >= calls * SHARES[urgency]) {
      throw overloaded('requests', 'the server has as many calls at work as it may; repeat later');
    }
    if (urgency !== 'brings') return;
    if (this.#load.lateMs() > lateMs || this.#load.queuedStatements() > queuedStatements) {
      throw overloaded('requests', 'the server does not keep up and takes no new work; repeat later');
    }
  }

  #wait(caller: string): void {
    const now = this.#waitingBy.get(caller) ?? 0;
    if (now >= this.#limits.waitingPerCaller) throw tooMany('caller', this.#limits.waitingPerCaller);
    this.#waitingBy.set(caller, now + 1);
  }

  #work(caller: string): void {
    const now = this.#callsBy.get(caller) ?? 0;
    const most = this.#limits.callsPerCaller;
    if (now >= most) throw overloaded('requests', `a caller may have ${most} calls at work at once; repeat later`);
    this.#callsBy.set(caller, now + 1);
  }
}

function countDown(counts: Map<string, number>, caller: string): void {
  const left = (counts.get(caller) ?? 1) - 1;
  if (left === 0) counts.delete(caller);
  else counts.set(caller, left);
}

function tooMany(scope: 'connection' | 'caller' | 'server', limit: number): EngineError {
  return new EngineError('TOO_MANY_STREAMS', `a ${scope} may have ${limit} streams and waiting calls at once`, {
    metadata: { scope, limit: String(limit) },
    retryDelayMs: WAIT_RETRY_MS,
  });
}
