/** Tokens of waitpoints and the secrets behind them. */
export { SealedTokens } from './sealed-tokens.js';
