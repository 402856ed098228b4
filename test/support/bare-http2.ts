/** A peer that speaks HTTP/2 frame by frame, and so may stay silent where a library would answer. */
import { once } from 'node:events';
import net from 'node:net';

const TYPE = { data: 0, headers: 1, settings: 4, ping: 6 } as const;
const END_STREAM = 0x1;
const END_HEADERS = 0x4;

export class BareHttp2 {
  readonly socket: net.Socket;

  private constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on('error', () => undefined);
    socket.resume();
  }

  static async connect(port: number): Promise<BareHttp2> {
    const socket = net.connect(port, '127.0.0.1');
    await once(socket, 'connect');
    socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    const peer = new BareHttp2(socket);
    peer.#frame(TYPE.settings, 0, 0);
    return peer;
  }

  /** Stream 1, with one message. */
  call(path: string, message = Buffer.alloc(5)): void {
    const headers = {
      ':method': 'POST',
      ':scheme': 'http',
      ':path': path,
      ':authority': 'localhost',
      'content-type': 'application/grpc',
    };
    this.#frame(TYPE.headers, END_HEADERS, 1, Buffer.concat(Object.entries(headers).map(literal)));
    this.#frame(TYPE.data, END_STREAM, 1, message);
  }

  ping(): void {
    this.#frame(TYPE.ping, 0, 0, Buffer.alloc(8));
  }

  settings(): void {
    this.#frame(TYPE.settings, 0, 0);
  }

  closed(): Promise<unknown> {
    return this.socket.closed ? Promise.resolve() : once(this.socket, 'close');
  }

  #frame(type: number, flags: number, stream: number, body: Buffer = Buffer.alloc(0)): void {
    const head = Buffer.alloc(9);
    head.writeUIntBE(body.length, 0, 3);
    head.writeUInt8(type, 3);
    head.writeUInt8(flags, 4);
    head.writeUInt32BE(stream, 5);
    this.socket.write(Buffer.concat([head, body]));
  }
}

/** A header field as HPACK writes one that is in no table, shorter than 127 bytes each. */
function literal([name, value]: [string, string]): Buffer {
  return Buffer.concat([
    Buffer.from([0, name.length]),
    Buffer.from(name),
    Buffer.from([value.length]),
    Buffer.from(value),
  ]);
}
