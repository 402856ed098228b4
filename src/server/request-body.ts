/**
 * Reads the messages of a request, bounded in size whatever the client declares, sends or compresses.
 *
 * A request that is refused half way is read on to its end without being kept: over HTTP/1.1 the client sees the
 * answer only after it has sent everything.
 */
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { EngineError } from '../domain/errors.js';
import { PREFIX_BYTES, prefixOf, tooLarge } from './envelope.js';
import { header, type Request } from './exchange.js';
import type { Wire } from './wire.js';

export interface Incoming {
  readonly request: Request;
  readonly wire: Wire;
  readonly mostBytes: number;
}

/** The one message of a unary or server-streaming call. */
export async function readMessage({ request, wire, mostBytes }: Incoming): Promise<Uint8Array> {
  const compression = compressionOf(request, wire);
  const body = await readBody(request, wire.enveloped ? mostBytes + PREFIX_BYTES : mostBytes, mostBytes);
  if (!wire.enveloped) return compression ? inflate(body, mostBytes) : body;

  if (body.length < PREFIX_BYTES) throw malformed('the request has no message');
  const { compressed, length } = prefixOf(body, mostBytes);
  if (body.length < PREFIX_BYTES + length) throw malformed('the message is shorter than its prefix says');
  if (body.length > PREFIX_BYTES + length) throw malformed('the request has more than one message');
  const message = body.subarray(PREFIX_BYTES);
  return compressed ? inflateDeclared(message, compression, mostBytes) : message;
}

/** The messages of a call whose client streams, as they come. */
export async function* readMessages({ request, wire, mostBytes }: Incoming): AsyncGenerator<Uint8Array> {
  const compression = compressionOf(request, wire);
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
      yield compressed ? await inflateDeclared(message, compression, mostBytes) : message;
    }
  }
  if (held.length > 0) throw malformed('the last message is shorter than its prefix says');
}

function readBody(request: Request, most: number, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= most) {
        chunks.push(chunk);
      } else {
        chunks = [];
        reject(tooLarge(limit));
      }
    });
    let whole = false;
    request.on('end', () => {
      whole = true;
      const [first] = chunks;
      resolve(chunks.length === 1 && first ? first : Buffer.concat(chunks));
    });
    // A request that came whole closes as well.
    const cut = () => whole || reject(new EngineError('CANCELED', 'the request was cut off'));
    request.on('error', cut);
    request.on('close', cut);
    // An honest client is told before it has sent it all.
    if (Number(header(request, 'content-length')) > most) reject(tooLarge(limit));
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

function inflateDeclared(message: Uint8Array, declared: boolean, mostBytes: number): Promise<Uint8Array> {
  if (!declared) throw malformed('a message is compressed, but no header says how');
  return inflate(message, mostBytes);
}

const unzip = promisify<Uint8Array, { maxOutputLength: number }, Buffer>(gunzip);

async function inflate(message: Uint8Array, mostBytes: number): Promise<Uint8Array> {
  if (message.length === 0) return message;
  try {
    return await unzip(message, { maxOutputLength: mostBytes });
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(mostBytes);
    throw malformed('the message is not valid gzip');
  }
}

function malformed(message: string): EngineError {
  return new EngineError('MALFORMED_REQUEST', message);
}
