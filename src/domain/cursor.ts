/**
 * Cursors: opaque resume points in the log, the same for every watch, list and consumer.
 *
 *     version (1 byte) · namespace (4) · incarnation (16) · pairs (1) · { shard (2) · position (8) } … · checksum (4)
 *
 * in base64url. Clients must not look inside, and may keep one for ever: what it points at may be pruned, but it never
 * silently means something else. The checksum finds damage, not forgery: a forged cursor shows nothing that its holder
 * could not read anyway.
 */
import { EngineError } from './errors.js';

export interface Cursor {
  /** Number of the namespace the reader was bound to; ALL_NAMESPACES for `*`. */
  readonly namespace: number;
  /** UUID of the log the positions belong to. */
  readonly incarnation: string;
  /** Up to and with this position everything was seen, per shard. Today there is one. */
  readonly positions: readonly ShardPosition[];
}

export interface ShardPosition {
  readonly shard: number;
  readonly position: bigint;
}

/** What a cursor is measured against. */
export interface CursorScope {
  readonly namespace: number;
  readonly incarnation: string;
  /** Logs that this one was restored from, and up to which position they are the same. */
  readonly past?: Readonly<Record<string, bigint>>;
  /** Entries up to this position are gone. */
  readonly floor: bigint;
  /** The highest position given. */
  readonly head: bigint;
}

export const ALL_NAMESPACES = 0;

const VERSION = 1;
const FIXED = 1 + 4 + 16 + 1;
const PAIR = 2 + 8;
const CHECKSUM = 4;

export function encodeCursor(cursor: Cursor): string {
  const end = FIXED + cursor.positions.length * PAIR;
  const bytes = Buffer.alloc(end + CHECKSUM);
  bytes.writeUInt8(VERSION, 0);
  bytes.writeInt32BE(cursor.namespace, 1);
  bytes.write(cursor.incarnation.replaceAll('-', ''), 5, 'hex');
  bytes.writeUInt8(cursor.positions.length, 21);
  cursor.positions.forEach(({ shard, position }, i) => {
    bytes.writeUInt16BE(shard, FIXED + i * PAIR);
    bytes.writeBigInt64BE(position, FIXED + i * PAIR + 2);
  });
  bytes.writeUInt32BE(checksum(bytes.subarray(0, end)), end);
  return bytes.toString('base64url');
}

/** Throws BAD_CURSOR for anything that encodeCursor did not make. */
export function decodeCursor(text: string): Cursor {
  const bytes = Buffer.from(text, 'base64url');
  // Decoding skips what is no base64url; encoding it again shows that.
  if (bytes.toString('base64url') !== text || bytes.length < FIXED + CHECKSUM) throw bad('it is damaged');
  if (bytes.readUInt8(0) !== VERSION) throw bad('its version is unknown');
  const pairs = bytes.readUInt8(21);
  const end = FIXED + pairs * PAIR;
  if (bytes.length !== end + CHECKSUM || bytes.readUInt32BE(end) !== checksum(bytes.subarray(0, end))) {
    throw bad('it is damaged');
  }
  const hex = bytes.toString('hex', 5, 21);
  return {
    namespace: bytes.readInt32BE(1),
    incarnation: [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-'),
    positions: Array.from({ length: pairs }, (_, i) => ({
      shard: bytes.readUInt16BE(FIXED + i * PAIR),
      position: bytes.readBigInt64BE(FIXED + i * PAIR + 2),
    })),
  };
}

/**
 * The position to go on behind. BAD_CURSOR when the cursor is not of this namespace and log or lies beyond the head (a
 * restore lost what it points at; waiting for it would skip entries), CURSOR_PRUNED when entries after it are gone.
 */
export function resolveCursor(text: string, scope: CursorScope): bigint {
  const cursor = decodeCursor(text);
  if (cursor.namespace !== scope.namespace) throw bad('it belongs to another namespace');
  const same = cursor.incarnation === scope.incarnation ? scope.head : scope.past?.[cursor.incarnation];
  if (same === undefined) throw bad('it belongs to another log');
  const [only] = cursor.positions;
  if (only === undefined || cursor.positions.length > 1 || only.shard !== 0) throw bad('its shards are unknown');
  if (only.position > same && only.position <= scope.head) throw bad('it has seen what a restore of the log lost');
  if (only.position < 0n || only.position > scope.head) throw bad('it lies beyond the end of the log');
  if (only.position < scope.floor) {
    throw new EngineError('CURSOR_PRUNED', 'entries after this cursor are gone', {
      metadata: { earliest_cursor: cursorAt(scope, scope.floor) },
    });
  }
  return only.position;
}

/**
 * The cursor of a reader that has seen everything up to `position`. Every entry that is handed out has one, and those of a
 * scope differ in their last half only, so the first is kept: a tenth of what encoding it costs.
 */
export function cursorAt({ namespace, incarnation }: Pick<CursorScope, 'namespace' | 'incarnation'>, position: bigint) {
  const key = `${namespace}/${incarnation}`;
  const { text, state } = beginnings.get(key) ?? begin(key, namespace, incarnation);
  ending.writeBigInt64BE(position, 0);
  ending.writeUInt32BE(checksum(ending.subarray(0, PAIR - 2), state), PAIR - 2);
  return text + ending.toString('base64url');
}

interface Beginning {
  /** Everything before the position: 24 bytes, so that no character holds bits of both halves. */
  readonly text: string;
  /** The checksum so far. */
  readonly state: number;
}

const REMEMBERED = 1_000;
const beginnings = new Map<string, Beginning>();
const ending = Buffer.alloc(PAIR - 2 + CHECKSUM);

function begin(key: string, namespace: number, incarnation: string): Beginning {
  const whole = encodeCursor({ namespace, incarnation, positions: [{ shard: 0, position: 0n }] });
  const bytes = Buffer.from(whole, 'base64url').subarray(0, FIXED + 2);
  const made = { text: bytes.toString('base64url'), state: checksum(bytes) };
  if (beginnings.size >= REMEMBERED) beginnings.clear();
  beginnings.set(key, made);
  return made;
}

function bad(why: string): EngineError {
  return new EngineError('BAD_CURSOR', `the cursor cannot be used: ${why}`);
}

/** FNV-1a over 32 bits; `state`: the checksum of what comes before. */
export function checksum(bytes: Uint8Array, state = 0x811c9dc5): number {
  let hash = state;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}
