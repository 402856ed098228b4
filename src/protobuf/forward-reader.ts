/**
 * Reads protobuf's wire format from the start of some bytes to their end.
 *
 * It reads what well-formed messages hold. Everything else throws `odd`: what ends in the middle of a value, numbers longer
 * than they need to be, text that is not UTF-8. Whoever called leaves the message to the library then, which knows what
 * is to be done about it.
 */
import { isUtf8 } from 'node:buffer';
import { odd } from './odd.js';

/** Up to here a loop in JavaScript is faster than a call into Node. */
const SHORT_TEXT = 24;
const REPLACEMENT = '\ufffd';
/** A byte order mark, which for the library is not part of the text. */
const MARK = 0xfeff;

export class ForwardReader {
  /** What is read, and the same with Node's functions. */
  readonly #given: Uint8Array;
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#given = bytes;
    this.#bytes = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get at(): number {
    return this.#at;
  }

  /** An unsigned integer of up to 32 bits. */
  uint32(): number {
    const bytes = this.#bytes;
    let byte = bytes[this.#at++];
    if (byte === undefined) throw odd;
    if (byte < 0x80) return byte;
    let value = byte & 0x7f;
    for (let shift = 7; shift < 28; shift += 7) {
      byte = bytes[this.#at++];
      if (byte === undefined) throw odd;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    byte = bytes[this.#at++];
    if (byte === undefined || byte > 0x0f) throw odd;
    return (value | (byte << 28)) >>> 0;
  }

  /** The lower 32 bits of a varint, as the two's complement of a number. */
  int32(): number {
    const first = this.#bytes[this.#at];
    if (first !== undefined && first < 0x80) {
      this.#at++;
      return first;
    }
    return Number(BigInt.asIntN(32, this.int64()));
  }

  /** The 64 bits of a varint, as the two's complement of a number. */
  int64(): bigint {
    const bytes = this.#bytes;
    let low = 0;
    // Four groups of seven bits fit a small integer, which is what most numbers are.
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = bytes[this.#at++];
      if (byte === undefined) throw odd;
      low |= (byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt(low);
    }
    let value = BigInt(low);
    for (let shift = 28n; shift < 70n; shift += 7n) {
      const byte = bytes[this.#at++];
      if (byte === undefined) throw odd;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) {
        if (shift === 63n && byte > 1) throw odd;
        return BigInt.asIntN(64, value);
      }
    }
    throw odd;
  }

  double(): number {
    const at = this.#skipped(8);
    return this.#bytes.readDoubleLE(at);
  }

  /** A view of what is read, as the library gives it. */
  raw(length: number): Uint8Array {
    const at = this.#skipped(length);
    return this.#given.subarray(at, at + length);
  }

  text(length: number): string {
    const at = this.#skipped(length);
    if (length <= SHORT_TEXT) {
      const text = this.#ascii(at, length);
      if (text !== undefined) return text;
    }
    const text = this.#bytes.toString('utf8', at, at + length);
    // What is not UTF-8 becomes this character, which may also have been written.
    if (text.includes(REPLACEMENT) && !isUtf8(this.#bytes.subarray(at, at + length))) throw odd;
    return text.charCodeAt(0) === MARK ? text.slice(1) : text;
  }

  skip(length: number): void {
    this.#skipped(length);
  }

  #ascii(at: number, length: number): string | undefined {
    let text = '';
    for (let index = at; index < at + length; index++) {
      const code = this.#bytes[index] as number;
      if (code > 0x7f) return undefined;
      text += String.fromCharCode(code);
    }
    return text;
  }

  /** Answers where the skipped stretch begins. */
  #skipped(length: number): number {
    const at = this.#at;
    if (length > this.#bytes.length - at) throw odd;
    this.#at = at + length;
    return at;
  }
}
