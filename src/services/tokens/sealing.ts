/**
 * Secrets at rest: sealed with AES-256-GCM under a key that the database never sees.
 *
 *     version 1 (1 byte) | mark of the key (4) | nonce (12) | ciphertext (32) | tag (16)
 *
 * The mark tells a key that is not the one it was sealed with from content that was damaged; it is no help in finding the
 * key. Namespace and purpose are authenticated with it, so that no sealed secret can be moved to another namespace.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  type KeyObject,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto';

const ALGORITHM = 'aes-256-gcm';
const VERSION = 1;
const MARK_BYTES = 4;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const SECRET_BYTES = 32;
const SEALED_BYTES = 1 + MARK_BYTES + NONCE_BYTES + SECRET_BYTES + TAG_BYTES;

/** Why a secret cannot be used here. unknown_version: a newer server sealed it. */
export type SealTrouble = 'other_key' | 'damaged' | 'unknown_version';

export type Opened = { readonly secret: KeyObject } | { readonly trouble: SealTrouble };

export class Sealer {
  // Neither is shown by console.log or JSON.stringify.
  readonly #key: KeyObject;
  readonly #mark: Buffer;

  /** `key`: 32 bytes. */
  constructor(key: Buffer) {
    this.#key = createSecretKey(key);
    this.#mark = createHmac('sha256', this.#key).update('tailrace secrets key').digest().subarray(0, MARK_BYTES);
  }

  /** A new random secret, sealed. */
  sealNew(namespace: number): Buffer {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(ALGORITHM, this.#key, nonce).setAAD(boundTo(namespace));
    const sealed = Buffer.concat([cipher.update(randomBytes(SECRET_BYTES)), cipher.final()]);
    return Buffer.concat([Buffer.of(VERSION), this.#mark, nonce, sealed, cipher.getAuthTag()]);
  }

  open(namespace: number, sealed: Buffer): Opened {
    if (sealed[0] !== VERSION) return { trouble: 'unknown_version' };
    if (sealed.length !== SEALED_BYTES) return { trouble: 'damaged' };
    const [mark, nonce, content, tag] = cut(sealed.subarray(1), [MARK_BYTES, NONCE_BYTES, SECRET_BYTES, TAG_BYTES]);
    if (!mark || !nonce || !content || !tag) return { trouble: 'damaged' };
    if (!timingSafeEqual(mark, this.#mark)) return { trouble: 'other_key' };
    const decipher = createDecipheriv(ALGORITHM, this.#key, nonce, { authTagLength: TAG_BYTES })
      .setAAD(boundTo(namespace))
      .setAuthTag(tag);
    try {
      return { secret: createSecretKey(Buffer.concat([decipher.update(content), decipher.final()])) };
    } catch {
      return { trouble: 'damaged' };
    }
  }
}

function boundTo(namespace: number): Buffer {
  return Buffer.from(`tailrace waitpoint secret of ${namespace}`);
}

function cut(bytes: Buffer, lengths: readonly number[]): Buffer[] {
  let start = 0;
  return lengths.map((length) => {
    start += length;
    return bytes.subarray(start - length, start);
  });
}
