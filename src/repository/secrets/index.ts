/** The secrets that sign waitpoint tokens. */
export { readAcceptedSecrets, readPresentSecrets, readSecrets, type SealedSecret } from './read.js';
export { insertFirstSecret, type RotatedSecret, rotateSecret } from './rotate.js';
