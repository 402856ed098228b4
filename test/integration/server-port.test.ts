/** The port closes whatever its connections are doing. */
import { once } from 'node:events';
import net from 'node:net';
import pino from 'pino';
import { expect, test } from 'vitest';
import { CALL_LIMITS, PORT_LIMITS } from '../../src/server/limits.js';
import { Port } from '../../src/server/port.js';
import { Traffic } from '../../src/server/traffic.js';

const logger = pino({ level: 'silent' });

function unlimited(): Traffic {
  const load = { lateMs: () => 0, queuedStatements: () => 0 };
  return new Traffic({ port: PORT_LIMITS, calls: CALL_LIMITS, mostBytes: 1_000, load, logger });
}

function open(): Promise<Port> {
  return Port.open({
    host: '127.0.0.1',
    port: 0,
    maxConcurrentStreams: 10,
    listener: (_, response) => response.end(),
    logger,
    traffic: unlimited(),
  });
}

test.each([
  ['says nothing', ''],
  ['has begun to say that it speaks HTTP/2', 'PR'],
  ['is in the middle of a head', 'POST / HTTP/1.1\r\nhost'],
  ['is in the middle of a body', 'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nxx'],
])('a connection that %s is closed in time, and may break meanwhile', async (_, said) => {
  for (const breaking of [false, true]) {
    const port = await open();
    const socket = net.connect(port.address.port, '127.0.0.1').on('error', () => undefined);
    await once(socket, 'connect');
    await new Promise((resolve) => socket.write(said, resolve));
    socket.resume();
    port.stopAccepting();
    const closed = port.close();
    if (breaking) socket.end();
    await closed;
    if (!socket.closed) await once(socket, 'close');
  }
});

test('names its address, also where that is every interface', async () => {
  const port = await Port.open({
    host: '0.0.0.0',
    port: 0,
    maxConcurrentStreams: 10,
    listener: (_, response) => response.end('here'),
    logger,
    traffic: unlimited(),
  });
  expect(port.address.host).toBe('0.0.0.0');
  expect(await (await fetch(port.address.url)).text()).toBe('here');
  port.stopAccepting();
  await port.close();
});
