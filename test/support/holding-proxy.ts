/**
 * A proxy before the database that keeps a statement for as long as a test needs: on its way there, or when the database
 * has done it and the server is not told yet, so that a transaction stays open in between.
 */
import type net from 'node:net';
import { DatabaseProxy } from './database-proxy.js';
import { Messages, nameIn } from './postgres-wire.js';

export interface Held {
  /** Resolves when such a statement has come, and is held. */
  readonly reached: Promise<void>;
  release(): void;
  /** Lets it go nowhere: its connection is lost. */
  cut(): void;
}

interface Trap {
  readonly statement: string;
  readonly side: 'before' | 'after';
  readonly released: Promise<void>;
  spring(client: net.Socket): void;
}

export class HoldingProxy extends DatabaseProxy {
  #traps: Trap[] = [];
  /** Answers the proxy and the given address with the proxy in its place. */
  static async before(address: string): Promise<{ proxy: HoldingProxy; url: string }> {
    const proxy = new HoldingProxy(address);
    return { proxy, url: await proxy.listen(address) };
  }

  /** Keeps the next one of this name, before the database gets it or after it has done it. */
  hold(statement: string, side: Trap['side']): Held {
    let release = () => {};
    let cut = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    const reached = new Promise<void>((resolve) => {
      const spring = (client: net.Socket) => {
        cut = () => client.destroy();
        resolve();
      };
      this.#traps.push({ statement, side, released, spring });
    });
    return { reached, release, cut: () => cut() };
  }

  /** Undefined when nothing of the kind is to be held. */
  #caught(statement: string, side: Trap['side'], client: net.Socket): Promise<void> | undefined {
    const trap = this.#traps.find((one) => one.statement === statement && one.side === side);
    if (trap === undefined) return undefined;
    this.#traps = this.#traps.filter((one) => one !== trap);
    trap.spring(client);
    return trap.released;
  }

  protected override join(client: net.Socket, server: net.Socket): void {
    let statement = '';
    const asked = new Messages(true);
    const told = new Messages(false);
    // What comes behind something held stays behind it.
    let there: Promise<void> | undefined;
    let back: Promise<void> | undefined;
    client.on('data', (bytes) => {
      for (const { type, body } of asked.take(bytes)) {
        if (type === 'Q') statement = '';
        if (type !== 'B') continue;
        statement = nameIn(body);
        there = this.#caught(statement, 'before', client) ?? there;
      }
      if (there) there = there.then(() => void server.write(bytes));
      else server.write(bytes);
    });
    server.on('data', (bytes) => {
      if (told.take(bytes).some(({ type }) => type === 'Z')) {
        this.answered.push(statement);
        back = this.#caught(statement, 'after', client) ?? back;
      }
      if (back) back = back.then(() => void client.write(bytes));
      else client.write(bytes);
    });
  }
}
