/**
 * A proxy before the database that knows which statement is under way, so that a server can be killed at a point that
 * matters: the database has done a statement, committed if it was a transaction of its own, and nobody was told.
 */
import type net from 'node:net';
import { DatabaseProxy } from './database-proxy.js';
import { Messages, nameIn, textOf } from './postgres-wire.js';

interface Trap {
  readonly fits: (statement: string) => boolean;
  readonly spring: () => void;
}

export class CrashProxy extends DatabaseProxy {
  #trap: Trap | undefined;
  #crashed = false;
  /** Answers the proxy and the given address with the proxy in its place. */
  static async before(address: string): Promise<{ proxy: CrashProxy; url: string }> {
    const proxy = new CrashProxy(address);
    return { proxy, url: await proxy.listen(address) };
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

  override async close(): Promise<void> {
    this.#cut();
    await super.close();
  }

  #cut(): void {
    this.#crashed = true;
    for (const socket of this.sockets) socket.resetAndDestroy();
  }

  protected override join(client: net.Socket, server: net.Socket): void {
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
