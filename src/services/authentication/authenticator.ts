/**
 * Whom a secret belongs to, answered from memory where that is known.
 *
 * What a process remembers holds while registry.version, which every new and every revoked token raises, is the one it
 * was read under and was confirmed within TRUST_MS: the pulse does so once a second. A server that has lost its database
 * therefore asks it again, in vain, rather than let somebody in who was revoked meanwhile. Unknown secrets are remembered
 * as long, so that a client with a bad one costs no statement per call.
 *
 * Lookups are gathered, one statement under way at a time: a flood of made-up secrets gets one connection, not the pool.
 * A crash loses nothing but times of last use.
 */
import { timingSafeEqual } from 'node:crypto';
import { EngineError } from '../../domain/errors.js';
import type { Runner } from '../../repository/database.js';
import { type LiveToken, lookUpTokens, markTokensUsed } from '../../repository/tokens/index.js';
import { after, monotonicMs } from '../../runtime/clock.js';
import { ALL_NAMESPACES, type Caller, type Role } from '../caller.js';
import { hashTextOf, tokenIdIn } from './secret.js';

/** A revoked token is refused everywhere within 5 s. */
const TRUST_MS = 4_000;
/** Last use is told to the minute. */
const USE_MS = 60_000;
/** Gathers the uses of one moment. */
const USE_DELAY_MS = 1_000;
const REMEMBERED = 10_000;
const BATCH = 500;
/** Callers that wait for a lookup; more are turned away. */
const WAITING = 10_000;

export interface AuthenticatorOptions {
  readonly runner: Runner;
  /** What this process knows of the database's version, and when it was last confirmed on the monotonic clock. */
  readonly registry: { readonly version: bigint; readonly confirmedMs: number };
  readonly onError: (name: string, error: unknown) => void;
}

interface Known {
  /** Undefined: nobody's. */
  readonly caller: Caller | undefined;
  readonly version: bigint;
  readonly readMs: number;
  /** On the monotonic clock. */
  readonly endsMs: number;
}

interface Waiting {
  readonly id: string;
  readonly hash: string;
  readonly resolve: (caller: Caller | undefined) => void;
  readonly reject: (error: unknown) => void;
}

export class Authenticator {
  readonly #options: AuthenticatorOptions;
  /** By the hash, in the order of the last lookup. */
  readonly #known = new Map<string, Known>();
  readonly #usedMs = new Map<string, number>();
  #waiting: Waiting[] = [];
  #looking = false;
  #used = new Set<string>();

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
  }

  /** Undefined for a secret that lets nobody in. At once where that is known. */
  callerOf(secret: string): Caller | undefined | Promise<Caller | undefined> {
    const id = tokenIdIn(secret);
    if (id === undefined) return undefined;
    const hash = hashTextOf(secret);
    const known = this.#known.get(hash);
    if (known && this.#holds(known)) return this.#seen(known.caller);
    return this.#lookUp(id, hash);
  }

  #holds({ version, caller, readMs, endsMs }: Known): boolean {
    const { registry } = this.#options;
    const now = monotonicMs();
    if (version !== registry.version || now >= endsMs) return false;
    // What nobody has is asked for again anyway: a restore may bring it.
    return now - (caller === undefined ? readMs : Math.max(readMs, registry.confirmedMs)) < TRUST_MS;
  }

  async #lookUp(id: string, hash: string): Promise<Caller | undefined> {
    if (this.#waiting.length >= WAITING) {
      throw new EngineError('OVERLOADED', 'too many tokens are being looked up', {
        metadata: { why: 'requests' },
        retryDelayMs: 1_000,
      });
    }
    const caller = await new Promise<Caller | undefined>((resolve, reject) => {
      this.#waiting.push({ id, hash, resolve, reject });
      if (!this.#looking) void this.#lookUpAll();
    });
    return this.#seen(caller);
  }

  async #lookUpAll(): Promise<void> {
    this.#looking = true;
    // Whoever comes in the same moment comes along.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, BATCH);
      // Both from before the statement: what changes meanwhile is looked up again.
      const { version } = this.#options.registry;
      const readMs = monotonicMs();
      try {
        const tokens = await lookUpTokens(this.#options.runner, [...new Set(batch.map(({ id }) => id))]);
        const byId = new Map(tokens.map((token) => [token.id, token]));
        for (const { id, hash, resolve } of batch) {
          const found = byId.get(id);
          const token = found && timingSafeEqual(found.hash, Buffer.from(hash, 'base64url')) ? found : undefined;
          const endsMs = token?.left_ms == null ? Number.POSITIVE_INFINITY : readMs + token.left_ms;
          const known = { caller: token && toCaller(token), version, readMs, endsMs };
          this.#remember(hash, known);
          resolve(known.caller);
        }
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#looking = false;
  }

  #remember(key: string, known: Known): void {
    this.#known.delete(key);
    this.#known.set(key, known);
    if (this.#known.size <= REMEMBERED) return;
    for (const oldest of this.#known.keys()) {
      this.#known.delete(oldest);
      break;
    }
  }

  #seen(caller: Caller | undefined): Caller | undefined {
    if (caller?.tokenId === undefined) return caller;
    const now = monotonicMs();
    const last = this.#usedMs.get(caller.tokenId);
    if (last !== undefined && now - last < USE_MS) return caller;
    this.#usedMs.delete(caller.tokenId);
    this.#usedMs.set(caller.tokenId, now);
    if (this.#used.size === 0) after(USE_DELAY_MS, () => void this.#tellUses());
    this.#used.add(caller.tokenId);
    return caller;
  }

  async #tellUses(): Promise<void> {
    const ids = [...this.#used];
    this.#used = new Set();
    const now = monotonicMs();
    for (const [id, ms] of this.#usedMs) if (now - ms > USE_MS) this.#usedMs.delete(id);
    await markTokensUsed(this.#options.runner, ids).catch((error: unknown) =>
      this.#options.onError('token uses', error),
    );
  }
}

function toCaller({ id, name, namespace, roles }: LiveToken): Caller {
  return { name, namespace: namespace ?? ALL_NAMESPACES, roles: new Set<Role>(roles), tokenId: id };
}
