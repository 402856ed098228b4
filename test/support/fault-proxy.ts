/** A TCP proxy that misbehaves on demand: refuses, cuts, or goes silent as a lost network does. */
import { once } from 'node:events';
import net from 'node:net';

interface Pair {
  readonly client: net.Socket;
  readonly server: net.Socket;
}

export class FaultProxy {
  readonly #target: { readonly host: string; readonly port: number };
  readonly #server: net.Server;
  readonly #pairs = new Set<Pair>();
  #mode: 'pass' | 'refuse' | 'silent' = 'pass';

  private constructor(target: { host: string; port: number }) {
    this.#target = target;
    this.#server = net.createServer((client) => this.#accept(client));
  }

  /** Answers the proxy and the given address with the proxy in its place. */
  static async before(address: string): Promise<{ proxy: FaultProxy; url: string }> {
    const url = new URL(address);
    const proxy = new FaultProxy({ host: url.hostname, port: Number(url.port) });
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    url.host = `127.0.0.1:${(proxy.#server.address() as net.AddressInfo).port}`;
    return { proxy, url: url.href };
  }

  get connections(): number {
    return this.#pairs.size;
  }

  /** As before the fault. Connections that were silent stay so: what they lost does not come back. */
  pass(): void {
    this.#mode = 'pass';
  }

  /** The database is down: what is open breaks, and nobody gets in. */
  refuse(): void {
    this.#mode = 'refuse';
    this.cut();
  }

  /** The network is gone: nothing breaks, nothing comes. */
  silence(): void {
    this.#mode = 'silent';
    for (const pair of this.#pairs) silence(pair);
  }

  /** Breaks what is open, once. */
  cut(): void {
    for (const { client, server } of this.#pairs) {
      client.resetAndDestroy();
      server.resetAndDestroy();
    }
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #accept(client: net.Socket): void {
    if (this.#mode === 'refuse') {
      client.on('error', () => undefined);
      client.resetAndDestroy();
      return;
    }
    const server = net.connect(this.#target);
    const pair: Pair = { client, server };
    this.#pairs.add(pair);
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.#pairs.delete(pair);
        client.destroy();
        server.destroy();
      });
    }
    client.pipe(server);
    server.pipe(client);
    if (this.#mode === 'silent') silence(pair);
  }
}

/** Bytes are taken and dropped, so neither side notices. */
function silence({ client, server }: Pair): void {
  client.unpipe(server);
  server.unpipe(client);
  client.resume();
  server.resume();
}
