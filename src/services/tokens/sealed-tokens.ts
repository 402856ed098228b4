/**
 * Makes waitpoint tokens and knows them again, with secrets that lie sealed in the database.
 *
 * What a process remembers of a secret is what never changes: its content, and that it is accepted no longer. Which secret
 * signs now, and whether one is still accepted, is asked of the database each time, by its clock: another process may have
 * replaced it a moment ago. Only whoever shows a genuine token causes such a question. A forged one is refused from memory;
 * if it names a secret that nobody here has met, it waits with all the others of its kind for one read every REST_MS.
 */
import type { KeyObject } from 'node:crypto';
import type { Database } from '../../repository/database.js';
import {
  insertFirstSecret,
  readAcceptedSecrets,
  readPresentSecrets,
  readSecrets,
  type SealedSecret,
} from '../../repository/secrets/index.js';
import type { NamedWaitpoint, WaitpointTokens } from '../engine/suspensions/tokens-port.js';
import type { DefectLog } from '../errors.js';
import { JointRead } from './joint-read.js';
import { type Opened, Sealer } from './sealing.js';
import { decodeToken, encodeToken, isGenuine } from './token.js';
import { noKey, unusable, whyUnusable } from './unavailable.js';

export interface SealedTokensOptions {
  readonly database: Database;
  /** 32 bytes. Without it everything here is refused. */
  readonly key: Buffer | undefined;
  readonly log: DefectLog;
}

interface Known {
  readonly id: number;
  readonly namespace: number;
  readonly opened: Opened;
  /** Accepted no longer; that does not change any more. */
  ended: boolean;
}

const REST_MS = 250;
/** Secrets remembered; each is a few hundred bytes. */
const REMEMBERED = 10_000;

export class SealedTokens implements WaitpointTokens {
  readonly #database: Database;
  readonly #sealer: Sealer | undefined;
  readonly #log: DefectLog;
  readonly #known = new Map<number, Known>();
  readonly #present: JointRead<number, SealedSecret>;
  readonly #unknown: JointRead<number, Known>;
  readonly #accepted: JointRead<number, true>;

  constructor({ database, key, log }: SealedTokensOptions) {
    this.#database = database;
    this.#sealer = key && new Sealer(key);
    this.#log = log;
    this.#present = new JointRead((namespaces) => readPresentSecrets(database, namespaces));
    this.#unknown = new JointRead((ids) => this.#read(ids), REST_MS);
    this.#accepted = new JointRead((ids) => readAcceptedSecrets(database, ids));
  }

  async presentSecret(namespace: number): Promise<number> {
    const sealer = this.#usableSealer();
    let present = await this.#present.get(namespace);
    if (present === undefined) {
      await insertFirstSecret(this.#database, namespace, sealer.sealNew(namespace));
      present = await this.#present.get(namespace);
    }
    if (present === undefined) throw new Error(`namespace ${namespace} has no waitpoint secret after one was made`);
    keyOf(this.#remember(present));
    return present.id;
  }

  async mint(namespace: number, waitpoint: string, secret: number): Promise<string> {
    this.#usableSealer();
    const known = this.#known.get(secret) ?? (await this.#read([secret])).get(secret);
    if (known?.namespace !== namespace) throw new Error(`namespace ${namespace} has no waitpoint secret ${secret}`);
    return encodeToken(keyOf(known), secret, waitpoint);
  }

  async verify(token: string): Promise<NamedWaitpoint | undefined> {
    this.#usableSealer();
    const parts = decodeToken(token);
    if (parts === undefined) return undefined;
    const known = this.#known.get(parts.secret) ?? (await this.#unknown.get(parts.secret));
    if (known === undefined || known.ended || !isGenuine(keyOf(known), parts)) return undefined;
    if ((await this.#accepted.get(known.id)) === undefined) {
      known.ended = true;
      return undefined;
    }
    return { namespace: known.namespace, waitpoint: parts.waitpoint };
  }

  /** Refuses with SECRETS_UNAVAILABLE where there is no key, as everything else here does. */
  checkKey(): void {
    this.#usableSealer();
  }

  /** For a rotation, which puts it in place of the present one. */
  sealNew(namespace: number): Buffer {
    return this.#usableSealer().sealNew(namespace);
  }

  #usableSealer(): Sealer {
    if (this.#sealer === undefined) throw noKey();
    return this.#sealer;
  }

  async #read(ids: readonly number[]): Promise<ReadonlyMap<number, Known>> {
    const rows = await readSecrets(this.#database, ids);
    return new Map(rows.map((row) => [row.id, this.#remember(row)]));
  }

  /** Says once what is wrong with it. */
  #remember(row: SealedSecret): Known {
    const { id, namespace } = row;
    const before = this.#known.get(id);
    if (before !== undefined) return before;
    const opened = this.#usableSealer().open(namespace, row.sealed);
    if ('trouble' in opened) this.#log.error({ namespace, secret: id }, whyUnusable(id, opened.trouble));
    const known: Known = { id, namespace, opened, ended: !row.accepted };
    this.#known.set(id, known);
    const [oldest] = this.#known.keys();
    if (this.#known.size > REMEMBERED && oldest !== undefined) this.#known.delete(oldest);
    return known;
  }
}

function keyOf({ id, opened }: Known): KeyObject {
  if ('trouble' in opened) throw unusable(id, opened.trouble);
  return opened.secret;
}
