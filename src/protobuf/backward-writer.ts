/**
 * Writes protobuf's wire format from the end of a buffer towards its start.
 *
 * A message stands behind its own length, so writing forward means to know the length first, or to write elsewhere and
 * copy. Backward, the content is already written when its length is asked for. So whatever belongs together is put in
 * reverse: the last field first, and of a field its value, then its length, then its tag.
 *
 * The buffer is kept for the next message; what `take` returns is a copy of the right size.
 */
const FIRST_BYTES = 64 * 1024;
/** A buffer that had to grow beyond this is given back. */
const KEPT_BYTES = 2 * 1024 * 1024;
/** Up to here a loop in JavaScript is faster than a call into Node. */
const SHORT_TEXT = 40;

const word = new DataView(new ArrayBuffer(8));

export class BackwardWriter {
  #bytes = Buffer.allocUnsafe(FIRST_BYTES);
  /** Where the last byte was put; everything before is free. */
  #at = FIRST_BYTES;

  /** How many bytes have been put. The difference of two is the length of what was put in between. */
  get written(): number {
    return this.#bytes.length - this.#at;
  }

  take(): Buffer<ArrayBuffer> {
    const taken = Buffer.allocUnsafe(this.written);
    this.#bytes.copy(taken, 0, this.#at);
    this.clear();
    return taken;
  }

  clear(): void {
    if (this.#bytes.length > KEPT_BYTES) this.#bytes = Buffer.allocUnsafe(FIRST_BYTES);
    this.#at = this.#bytes.length;
  }

  byte(value: number): void {
    const at = this.#back(1);
    this.#bytes[at] = value;
  }

  /** An unsigned integer of 32 bits. */
  varint(value: number): void {
    if (value < 0x80) {
      this.byte(value);
      return;
    }
    let at = this.#back(value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : value < 0x1000_0000 ? 4 : 5);
    let rest = value;
    for (; rest > 0x7f; rest >>>= 7) this.#bytes[at++] = (rest & 0x7f) | 0x80;
    this.#bytes[at] = rest;
  }

  /** The two's complement of 64 bits as a varint; `value` must be in the range of an int64. */
  varint64(value: bigint): void {
    word.setBigInt64(0, value, true);
    let low = word.getUint32(0, true);
    let high = word.getUint32(4, true);
    if (high === 0) {
      this.varint(low);
      return;
    }
    const bits = 64 - Math.clz32(high);
    let at = this.#back(Math.ceil(bits / 7));
    while (high > 0 || low > 0x7f) {
      this.#bytes[at++] = (low & 0x7f) | 0x80;
      low = ((low >>> 7) | (high << 25)) >>> 0;
      high >>>= 7;
    }
    this.#bytes[at] = low;
  }

  double(value: number): void {
    const at = this.#back(8);
    this.#bytes.writeDoubleLE(value, at);
  }

  /** Without the length. */
  raw(bytes: Uint8Array): void {
    const at = this.#back(bytes.length);
    this.#bytes.set(bytes, at);
  }

  /** In UTF-8, without the length. Half of a surrogate pair becomes U+FFFD. */
  text(text: string): void {
    if (text.length <= SHORT_TEXT && this.#ascii(text)) return;
    const length = Buffer.byteLength(text);
    const at = this.#back(length);
    this.#bytes.write(text, at, length, length === text.length ? 'latin1' : 'utf8');
  }

  #ascii(text: string): boolean {
    const { length } = text;
    const at = this.#back(length);
    for (let index = 0; index < length; index++) {
      const code = text.charCodeAt(index);
      if (code > 0x7f) {
        this.#at += length;
        return false;
      }
      this.#bytes[at + index] = code;
    }
    return true;
  }

  /** Makes room for `length` bytes more and says where they begin. It may replace the buffer: ask it first. */
  #back(length: number): number {
    if (length > this.#at) this.#grow(length);
    this.#at -= length;
    return this.#at;
  }

  #grow(length: number): void {
    const { written } = this;
    const grown = Buffer.allocUnsafe(Math.max(2 * this.#bytes.length, written + length));
    this.#bytes.copy(grown, grown.length - written, this.#at);
    this.#bytes = grown;
    this.#at = grown.length - written;
  }
}
