/**
 * What suspensions and signals need of waitpoint tokens: making one, and knowing one again. Where secrets live, how they
 * are sealed and for how long an old one is accepted is no concern of theirs.
 */

/** What a genuine token names. */
export interface NamedWaitpoint {
  /** Number of the namespace. */
  readonly namespace: number;
  /** Id of the waitpoint. */
  readonly waitpoint: string;
}

export interface WaitpointTokens {
  /** Id of the secret that signs now; made on first use. Refused with SECRETS_UNAVAILABLE when none can be kept. */
  presentSecret(namespace: number): Promise<number>;
  /** The same waitpoint and secret give the same token, also once the secret has been replaced. */
  mint(namespace: number, waitpoint: string, secret: number): Promise<string>;
  /**
   * Undefined: malformed, of an unknown secret or of one past its grace, or forged; which of them is told to nobody. Decided
   * in constant time and without a look at the execution or the waitpoint. SECRETS_UNAVAILABLE without a key.
   */
  verify(token: string): Promise<NamedWaitpoint | undefined>;
}
