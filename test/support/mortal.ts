/** A server that is killed again and again, and what is left when the test is over. */
import { pause } from '../../src/runtime/clock.js';
import type { Chance } from './chance.js';
import { recordingClients } from './history/clients.js';
import type { Recorded } from './history/recorded.js';
import { ServerProcess } from './server-process.js';
import type { Clients } from './tailrace.js';

export class Mortal {
  /** Recorded; undefined while it is dead. */
  clients: Clients | undefined;
  /** Where it is; undefined while it is dead. */
  url: string | undefined;
  kills = 0;
  #over = false;
  readonly #running: Promise<void>;

  /** On the database of the recorded server. */
  constructor(
    readonly recorded: Recorded,
    readonly dice: Chance,
  ) {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#over = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#over) {
      const server = await ServerProcess.start(this.recorded.tailrace.database);
      this.clients = recordingClients(server.url, this.recorded.recorder);
      this.url = server.url;
      await pause(300 + this.dice.below(1_500));
      await server.kill();
      this.clients = undefined;
      this.url = undefined;
      this.kills++;
    }
  }
}
