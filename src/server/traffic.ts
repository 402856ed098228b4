/**
 * What passes through the port, held against its limits: who may enter, how much is held, how fast it has to go. One for
 * the process; each call has a passage of its own.
 */
import type { DescMethod } from '@bufbuild/protobuf';
import type { Logger } from 'pino';
import { Admission, type Admitted, type Load } from './admission.js';
import { Buffered, type Holding } from './buffered.js';
import { type Connection, ConnectionUse, connectionOf, type Usage } from './connection-use.js';
import { Connections } from './connections.js';
import { type Request, type Response, unsentBytes } from './exchange.js';
import type { CallLimits, PortLimits } from './limits.js';
import { overloaded } from './overload.js';
import { Pace } from './pace.js';
import { Sessions } from './sessions.js';

export interface TrafficOptions {
  readonly port: PortLimits;
  readonly calls: CallLimits;
  readonly mostBytes: number;
  readonly load: Load;
  readonly logger: Logger;
}

export class Traffic {
  readonly limits: PortLimits;
  readonly connections: Connections;
  readonly sessions: Sessions;
  readonly admission: Admission;
  readonly buffered: Buffered;
  /** Bodies on their way in. */
  readonly bodies: Pace;
  readonly #uses = new ConnectionUse();
  readonly #answers: Pace;
  readonly #streams: Pace;

  constructor({ port, calls, mostBytes, load, logger }: TrafficOptions) {
    const { leastBytesPerSecond } = port;
    this.limits = port;
    this.connections = new Connections(port);
    this.sessions = new Sessions({ limits: port, logger });
    this.admission = new Admission(calls, load);
    this.buffered = new Buffered(port.bufferedBytes, mostBytes);
    this.bodies = new Pace({ graceMs: port.bodyGraceMs, leastBytesPerSecond });
    this.#answers = new Pace({ graceMs: port.answerGraceMs, leastBytesPerSecond });
    this.#streams = new Pace({ graceMs: port.streamGraceMs, leastBytesPerSecond });
  }

  passage(method: DescMethod, request: Request): Passage {
    const connection = connectionOf(request);
    return new Passage(this, { method, request, connection, usage: this.#uses.of(connection) });
  }

  /** The last of an answer has been handed over: cuts off a client that does not take it. To be called when it has. */
  sent(response: Response): () => void {
    return this.#answers.begin(() => response.destroy(), unsentBytes(response)).end;
  }

  /** The same for a message of a stream whose reader has not taken the last ones. */
  stalled(response: Response): () => void {
    return this.#streams.begin(() => response.destroy(), unsentBytes(response)).end;
  }
}

interface Passing {
  readonly method: DescMethod;
  readonly request: Request;
  /** Kept, since a request that is over has forgotten it. */
  readonly connection: Connection;
  readonly usage: Usage;
}

export class Passage {
  readonly holding: Holding;
  readonly bodies: Pace;
  readonly #traffic: Traffic;
  readonly #passing: Passing;
  #admitted: Admitted | undefined;

  constructor(traffic: Traffic, passing: Passing) {
    this.#traffic = traffic;
    this.#passing = passing;
    this.bodies = traffic.bodies;
    this.holding = traffic.buffered.open(passing.usage);
  }

  /** Before anything is read. Throws OVERLOADED or TOO_MANY_STREAMS. */
  enter(): void {
    if (this.#traffic.connections.refuses(this.#passing.request)) {
      throw overloaded('connections', 'there are as many connections as may be; use one of them, or repeat later');
    }
    this.#admitted = this.#traffic.admission.enter(this.#passing.method, this.#passing.usage);
  }

  /** Once it is known who calls; those without a name are told apart by their address. Throws the same. */
  charge(caller: () => string | undefined): void {
    this.#admitted?.charge(() => caller() ?? this.#passing.request.socket.remoteAddress ?? '');
  }

  /** The call is over. */
  leave(): void {
    const { request, connection } = this.#passing;
    if (this.#traffic.connections.refuses(request)) closeSoon(connection);
    this.holding.release();
    this.#admitted?.leave();
  }
}

/** It has been told that it is one too many. */
function closeSoon(connection: Connection): void {
  if ('destroySoon' in connection) connection.destroySoon();
  else connection.close();
}
