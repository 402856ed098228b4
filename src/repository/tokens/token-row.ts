/** A token as it is shown: everything but its hash. */

export interface TokenRow {
  readonly id: string;
  readonly name: string;
  /** Null: good for all. */
  readonly namespace: string | null;
  /** Numbers of the contract. */
  readonly roles: number[];
  readonly actor: string;
  readonly created_at: Date;
  readonly expires_at: Date | null;
  readonly revoked_at: Date | null;
  readonly used_at: Date | null;
}

/** Of `token t` and `namespace n`, which is joined from the left. */
export const TOKEN_COLUMNS = `t.id, t.name, n.name as namespace, t.roles, t.actor, t.created_at, t.expires_at, t.revoked_at, t.used_at`;
