/**
 * Reads the messages of a request, bounded in size whatever the client declares, sends or compresses, and in the time that
 * it may take for it.
 *
 * A request that is refused half way is read on to its end without being kept: over HTTP/1.1 the client sees the
 * answer only after it has sent everything.
 */
import { createGunzip } from 'node:zlib';
import { EngineError } from '../domain/errors.js';
import { after } from '../runtime/clock.js';
import type { Holding } from './buffered.js';
import { PREFIX_BYTES, prefixOf, tooLarge } from './envelope.js';
import { cutOff, header, type Request } from './exchange.js';
import type { Pace } from './pace.js';
import type { Wire } from './wire.js';

export interface Incoming {
  readonly request: Request;
  readonly wire: Wire;
  readonly mostBytes: number;
  readonly passage: { readonly holding: Holding; readonly bodies: Pace };
}

/** Clients stream short questions only (reflection); their pieces are put together again and again. */
const STREAMED_BYTES = 64 * 1024;
/** A client that was told it is too slow has this long to hear it. */
const TOLD_MS = 1_000;

/** The one message of a unary or server-streaming call. */
export async function readMessage(incoming: Incoming): Promise<Uint8Array> {
  const { request, wire, mostBytes, passage } = incoming;
  const compression = compressionOf(request, wire);
  const body = await readBody(incoming);
  if (!wire.enveloped) return compression ? inflate(body, mostBytes, passage.holding) : body;

  if (body.length < PREFIX_BYTES) throw malformed('the request has no message');
  const { compressed, length } = prefixOf(body, mostBytes);
  if (body.length < PREFIX_BYTES + length) throw malformed('the message is shorter than its prefix says');
  if (body.length > PREFIX_BYTES + length) throw malformed('the request has more than one message');
  const message = body.subarray(PREFIX_BYTES);
  if (compressed && !compression) throw undeclared();
  return compressed ? inflate(message, mostBytes, passage.holding) : message;
}

/** The messages of a call whose client streams, as they come. */
export async function* readMessages({ request, wire, ...more }: Incoming): AsyncGenerator<Uint8Array> {
  const compression = compressionOf(request, wire);
  const mostBytes = Math.min(more.mostBytes, STREAMED_BYTES);
  let held: Buffer = Buffer.alloc(0);
  // Leaving the loop must not destroy the request, and with it the answer.
  const chunks: AsyncIterable<Buffer> = request.iterator({ destroyOnReturn: false });
  for await (const chunk of chunks) {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    while (held.length >= PREFIX_BYTES) {
      const { compressed, length } = prefixOf(held, mostBytes);
      if (held.length < PREFIX_BYTES + length) break;
      const message = held.subarray(PREFIX_BYTES, PREFIX_BYTES + length);
      held = held.subarray(PREFIX_BYTES + length);
      if (compressed && !compression) throw undeclared();
      yield compressed ? await inflate(message, mostBytes, more.passage.holding) : message;
    }
  }
  if (held.length > 0) throw malformed('the last message is shorter than its prefix says');
}

/** Reads what nobody wants, at the pace of any body: an unread one would keep the client from reading its answer. */
export function discard(request: Request, bodies: Pace): void {
  if (request.readableEnded || request.destroyed) return;
  const transfer = bodies.begin(() => cutOff(request));
  request.on('data', (chunk: Buffer) => transfer.moved(chunk.length));
  request.on('end', transfer.end).on('close', transfer.end).on('error', transfer.end);
}

function readBody({ request, wire, mostBytes, passage: { holding, bodies } }: Incoming): Promise<Buffer> {
  const most = wire.enveloped ? mostBytes + PREFIX_BYTES : mostBytes;
  return new Promise((resolve, reject) => {
    let chunks: Buffer[] = [];
    let bytes = 0;
    let refused = false;
    const refuse = (error: unknown) => {
      refused = true;
      chunks = [];
      holding.release();
      reject(error);
    };
    const transfer = bodies.begin(() => {
      refuse(tooSlow());
      after(TOLD_MS, () => cutOff(request));
    });
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      transfer.moved(chunk.length);
      if (refused) return;
      if (bytes > most) return refuse(tooLarge(mostBytes));
      try {
        holding.add(chunk.length);
        chunks.push(chunk);
      } catch (error) {
        refuse(error);
      }
    });
    let whole = false;
    request.on('end', () => {
      whole = true;
      transfer.end();
      const [first] = chunks;
      resolve(chunks.length === 1 && first ? first : Buffer.concat(chunks));
    });
    // A request that came whole closes as well.
    const cut = () => {
      transfer.end();
      if (!whole) reject(new EngineError('CANCELED', 'the request was cut off'));
    };
    request.on('error', cut);
    request.on('close', cut);
    // An honest client is told before it has sent it all.
    if (Number(header(request, 'content-length')) > most) refuse(tooLarge(mostBytes));
  });
}

/** True for gzip, the one compression accepted; answers are not compressed, being short or already costly enough. */
function compressionOf(request: Request, wire: Wire): boolean {
  const encoding = header(request, wire.encodingHeader) ?? 'identity';
  if (encoding === 'identity') return false;
  if (encoding === 'gzip') return true;
  throw new EngineError('UNIMPLEMENTED', `compression ${encoding} is not known; gzip and identity are`, {
    metadata: { accepted: 'gzip,identity' },
  });
}

/** Counted as it grows: what is short on the wire may be long in memory. */
function inflate(message: Uint8Array, mostBytes: number, holding: Holding): Promise<Uint8Array> {
  if (message.length === 0) return Promise.resolve(message);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const gunzip = createGunzip();
    const refuse = (error: unknown) => {
      gunzip.destroy();
      reject(error);
    };
    gunzip.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > mostBytes) return refuse(tooLarge(mostBytes));
      try {
        holding.add(chunk.length);
        chunks.push(chunk);
      } catch (error) {
        refuse(error);
      }
    });
    gunzip.on('end', () => resolve(Buffer.concat(chunks)));
    gunzip.on('error', () => reject(malformed('the message is not valid gzip')));
    gunzip.end(message);
  });
}

function undeclared(): EngineError {
  return malformed('a message is compressed, but no header says how');
}

function tooSlow(): EngineError {
  return new EngineError('DEADLINE_EXCEEDED', 'the body of the request came too slowly');
}

function malformed(message: string): EngineError {
  return new EngineError('MALFORMED_REQUEST', message);
}
