/** Tokens: who may call. Made and revoked with a log entry each; secrets are here as hashes only. */
export { type Bootstrapped, bootstrapToken, hasAdminToken } from './bootstrap.js';
export { type CreatedToken, createToken, type NewToken } from './create.js';
export { listTokens, readToken, type TokenPage } from './list.js';
export { type LiveToken, lookUpTokens, markTokensUsed } from './lookup.js';
export { type RevokedToken, revokeToken, type TokenRevocation } from './revoke.js';
export type { TokenRow } from './token-row.js';
