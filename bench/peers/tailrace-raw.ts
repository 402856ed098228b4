/** Tailrace over its generated clients, with batches as a worker library sends them, from one server or several. */
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import type { CompletionEntry } from '../../gen/tailrace/v1/log_pb.js';
import { NO_ORDINAL, ordinalOf } from '../content.js';
import type { Contestant, Running, StartOptions } from './contestant.js';
import { TailraceClients, textOf } from './tailrace-clients.js';
import { startTailraceServer } from './tailrace-server.js';

/** Of each set of clients. */
const LOOPS = 4;
/** What one call may claim or complete. */
export const MOST_CLAIMED = 500;

export interface RawOptions {
  readonly name: string;
  /** Executions that are claimed and completed together, 1 to 500. Default 500. */
  readonly batch?: number;
  /** Default 1 KiB; 0: without input. */
  readonly inputBytes?: number;
  /** On the same database. Default 1. */
  readonly servers?: number;
  /** Sets of clients, each with a connection and claim loops of its own, dealt out to the servers. Default 1. */
  readonly clients?: number;
  /** Settings of the servers. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Told what the completion stream delivers. */
  readonly onEntries?: (entries: readonly CompletionEntry[]) => void;
}

export function rawTailrace(options: RawOptions): Contestant {
  return { name: options.name, pace: 'fast', start: (given) => start(options, given) };
}

async function start(
  { batch = MOST_CLAIMED, inputBytes, servers: count = 1, clients: sets = 1, settings, onEntries }: RawOptions,
  options: StartOptions,
): Promise<Running> {
  const { ground, profileInto, onStart, ended, workers } = options;
  const servers = [await startTailraceServer(ground.url, { profileInto, settings })];
  while (servers.length < count) servers.push(await startTailraceServer(ground.url, { settings }));
  const clients = Array.from(
    { length: sets },
    (_, i) => new TailraceClients(servers[i % count]?.url ?? '', { inputBytes }),
  );
  clients[0]?.watch((entries) => {
    onEntries?.(entries);
    ended.add(entries.length);
  });
  for (const one of clients) {
    const work = async (claims: readonly Claim[]) => {
      for (const claim of claims) onStart(ordinalOf(textOf(claim)));
      await one.complete(claims);
    };
    if (workers) one.claim(LOOPS, batch, work);
  }
  let turn = 0;
  const create = async (ordinals: readonly number[]) => await clients[turn++ % sets]?.create(ordinals);
  return {
    createMany: (size) => create(Array.from({ length: size }, () => NO_ORDINAL)),
    createOne: (ordinal) => create([ordinal]),
    servers,
    stop: async () => {
      const stopClients = Promise.all(clients.map((one) => one.close()));
      // The servers end even when their clients did not end well.
      await stopClients.finally(() => Promise.all(servers.map((server) => server.stop())));
    },
  };
}

export const tailraceRaw = rawTailrace({ name: 'Tailrace, generated clients' });
