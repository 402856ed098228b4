/** A proxy before the database, for those that look into what passes: it knows its connections and closes with them. */
import { once } from 'node:events';
import net from 'node:net';

export abstract class DatabaseProxy {
  readonly #server: net.Server;
  readonly #target: { readonly host: string; readonly port: number };
  protected readonly sockets = new Set<net.Socket>();
  /** Names of the statements that the database has answered, oldest first. */
  readonly answered: string[] = [];

  protected constructor(address: string) {
    const { hostname, port } = new URL(address);
    this.#target = { host: hostname, port: Number(port) };
    this.#server = net.createServer((client) => this.#accept(client));
  }

  /** Passes on what each side says. */
  protected abstract join(client: net.Socket, server: net.Socket): void;

  /** Answers the given address with the proxy in its place. */
  protected async listen(address: string): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    const url = new URL(address);
    url.host = `127.0.0.1:${(this.#server.address() as net.AddressInfo).port}`;
    return url.href;
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #accept(client: net.Socket): void {
    const server = net.connect(this.#target);
    for (const socket of [client, server]) {
      this.sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.sockets.delete(socket);
        client.destroy();
        server.destroy();
      });
    }
    this.join(client, server);
  }
}
