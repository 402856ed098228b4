/** Free ports of the loopback address. Another process may take one between the look and the use: callers try again. */
import { once } from 'node:events';
import { createServer } from 'node:net';

const HOST = '127.0.0.1';

/** The port asked for when it is free, else one that is. */
export async function freePort(wanted?: number): Promise<number> {
  return (wanted && (await listenOnce(wanted))) || ((await listenOnce(0)) ?? 0);
}

async function listenOnce(port: number): Promise<number | undefined> {
  const server = createServer().listen(port, HOST);
  try {
    await once(server, 'listening');
  } catch {
    return undefined;
  }
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' ? address?.port : undefined;
}
