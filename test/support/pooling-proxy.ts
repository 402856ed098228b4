/**
 * A pooler before the database, as PgBouncer was before 1.21: whoever begins a transaction gets the backend that was given
 * back last, and prepared statements stay where they were prepared. By session everybody keeps a backend.
 */
import type net from 'node:net';
import { DatabaseProxy } from './database-proxy.js';
import { Messages } from './postgres-wire.js';

export class PoolingProxy extends DatabaseProxy {
  url = '';
  readonly #bySession: boolean;
  readonly #free: net.Socket[] = [];
  /** Whose transaction runs on a backend. */
  readonly #users = new Map<net.Socket, net.Socket>();

  private constructor(address: string, bySession: boolean) {
    super(address);
    this.#bySession = bySession;
  }

  static async start(address: string, { bySession = false } = {}): Promise<PoolingProxy> {
    const proxy = new PoolingProxy(address, bySession);
    proxy.url = await proxy.listen(address);
    return proxy;
  }

  protected join(client: net.Socket, own: net.Socket): void {
    let ready = false;
    let used: net.Socket | undefined;
    this.#users.set(own, client);
    const fromServer = new Messages(false);
    own.on('data', (bytes: Buffer) => {
      for (const { type, body } of fromServer.take(bytes)) {
        // A pooler has numbers of its own for sessions.
        if (type === 'K') body.writeUInt32BE(1_000_000 + this.sockets.size, 0);
        this.#users.get(own)?.write(message(type, body));
        if (type !== 'Z' || this.#bySession) continue;
        if (body.toString('latin1') === 'I') this.#free.push(own);
        this.#users.delete(own);
      }
    });
    const fromClient = new Messages(true);
    client.on('data', (bytes: Buffer) => {
      for (const { type, body } of fromClient.take(bytes)) {
        ready ||= !['', 'p'].includes(type); // the words of signing in have no type, or this one
        if (!ready || this.#bySession) {
          own.write(message(type, body));
          continue;
        }
        if (type === 'X') continue;
        if (used === undefined || this.#users.get(used) !== client) used = this.#free.pop() ?? own;
        this.#users.set(used, client);
        used.write(message(type, body));
      }
    });
  }
}

function message(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(type.length + 4);
  head.write(type, 'latin1');
  head.writeUInt32BE(body.length + 4, type.length);
  return Buffer.concat([head, body]);
}
