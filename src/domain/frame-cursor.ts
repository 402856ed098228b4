/**
 * Cursors in the output of one attempt: how much was seen of each mode, so that what one mode drops moves no other.
 *
 *     version (1 byte) · execution (16) · attempt (4) · durable (4) · summary (4) · best effort (8) · checksum (4)
 *
 * in base64url. As with cursors of the log, the checksum finds damage, not forgery.
 */
import { checksum } from './cursor.js';
import { EngineError } from './errors.js';

export interface FrameCursor {
  readonly execution: string;
  readonly attempt: number;
  /** Number of the last DURABLE frame seen. */
  readonly durable: number;
  /** Version of the summary seen. Below 0: none was, and the whole document comes first. */
  readonly version: number;
  /** Number of the last BEST_EFFORT frame seen. */
  readonly passing: number;
}

/** Another one than that of cursors of the log, which so are refused here, as these are there. */
const VERSION = 0x41;
const END = 1 + 16 + 4 + 4 + 4 + 8;
const CHECKSUM = 4;

export function encodeFrameCursor({ execution, attempt, durable, version, passing }: FrameCursor): string {
  const bytes = Buffer.alloc(END + CHECKSUM);
  bytes.writeUInt8(VERSION, 0);
  bytes.write(execution.replaceAll('-', ''), 1, 'hex');
  bytes.writeInt32BE(attempt, 17);
  bytes.writeInt32BE(durable, 21);
  bytes.writeInt32BE(version, 25);
  bytes.writeBigInt64BE(BigInt(passing), 29);
  bytes.writeUInt32BE(checksum(bytes.subarray(0, END)), END);
  return bytes.toString('base64url');
}

/** Throws BAD_CURSOR for anything that encodeFrameCursor did not make, and for one of another execution. */
export function decodeFrameCursor(text: string, execution: string): FrameCursor {
  const bytes = Buffer.from(text, 'base64url');
  // Decoding skips what is no base64url; encoding it again shows that.
  if (bytes.toString('base64url') !== text || bytes.length === 0) throw badFrameCursor('it is damaged');
  if (bytes.readUInt8(0) !== VERSION) throw badFrameCursor('its version is unknown');
  if (bytes.length !== END + CHECKSUM || bytes.readUInt32BE(END) !== checksum(bytes.subarray(0, END))) {
    throw badFrameCursor('it is damaged');
  }
  if (bytes.toString('hex', 1, 17) !== execution.replaceAll('-', '')) {
    throw badFrameCursor('it belongs to another execution');
  }
  return {
    execution,
    attempt: bytes.readInt32BE(17),
    durable: bytes.readInt32BE(21),
    version: bytes.readInt32BE(25),
    passing: Number(bytes.readBigInt64BE(29)),
  };
}

export function badFrameCursor(why: string): EngineError {
  return new EngineError('BAD_CURSOR', `the cursor cannot be used: ${why}`);
}
