/**
 * A proxy before the database that knows which statement is under way, so that a server can be killed at a point that
 * matters: the database has done a statement, committed if it was a transaction of its own, and nobody was told.
 */
import { once } from 'node:events';
import net from 'node:net';

interface Trap {
  readonly fits: (statement: string) => boolean;
  readonly spring: () => void;
}

export class CrashProxy {
  readonly #target: { readonly host: string; readonly port: number };
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();
  #trap: Trap | undefined;
  #crashed = false;
  /** Names of the statements that were answered, oldest first. */
  readonly answered: string[] = [];

  private constructor(target: { host: string; port: number }) {
    this.#target = target;
    this.#server = net.createServer((client) => this.#accept(client));
  }

  /** Answers the proxy and the given address with the proxy in its place. */
  static async before(address: string): Promise<{ proxy: CrashProxy; url: string }> {
    const url = new URL(address);
    const proxy = new CrashProxy({ host: url.hostname, port: Number(url.port) });
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    url.host = `127.0.0.1:${(proxy.#server.address() as net.AddressInfo).port}`;
    return { proxy, url: url.href };
  }

  get crashed(): boolean {
    return this.#crashed;
  }

  /** When such a statement is done, `strike` is called and every connection is gone. */
  crashAfter(fits: (statement: string) => boolean, strike: () => void): void {
    const spring = () => {
      strike();
      this.#cut();
    };
    this.#trap = { fits, spring };
  }

  async close(): Promise<void> {
    this.#cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #cut(): void {
    this.#crashed = true;
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  #accept(client: net.Socket): void {
    const server = net.connect(this.#target);
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.#sockets.delete(socket);
        client.destroy();
        server.destroy();
      });
    }
    if (this.#crashed) client.resetAndDestroy();
    let statement = '';
    const asked = new Messages(true);
    const told = new Messages(false);
    client.on('data', (bytes) => {
      for (const { type, body } of asked.take(bytes)) {
        if (type === 'B') statement = nameIn(body);
        if (type === 'Q') statement = textOf(body);
      }
      server.write(bytes);
    });
    server.on('data', (bytes) => {
      const done = told.take(bytes).some(({ type }) => type === 'Z');
      if (done) this.answered.push(statement);
      const trap = this.#trap;
      if (done && trap?.fits(statement)) {
        this.#trap = undefined;
        trap.spring();
      }
      if (!this.#crashed) client.write(bytes);
    });
  }
}

/** Cuts a stream into the messages of Postgres' protocol. */
export class Messages {
  #rest: Buffer = Buffer.alloc(0);
  /** A client's first message has no type. */
  #untyped: boolean;

  constructor(fromClient: boolean) {
    this.#untyped = fromClient;
  }

  take(bytes: Buffer): { type: string; body: Buffer }[] {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    const messages: { type: string; body: Buffer }[] = [];
    for (;;) {
      const head = this.#untyped ? 0 : 1;
      if (this.#rest.length < head + 4) return messages;
      const end = head + this.#rest.readInt32BE(head);
      if (this.#rest.length < end) return messages;
      const type = this.#untyped ? '' : String.fromCharCode(this.#rest[0] ?? 0);
      messages.push({ type, body: this.#rest.subarray(head + 4, end) });
      this.#rest = this.#rest.subarray(end);
      this.#untyped = false;
    }
  }
}

/** The statement that a Bind names, after the name of its portal. */
export function nameIn(body: Buffer): string {
  return textOf(body.subarray(body.indexOf(0) + 1));
}

export function textOf(body: Buffer): string {
  return body.toString('utf8', 0, body.indexOf(0));
}
