/** Who calls and whether they may: tokens, certificates, and the gate before every handler. */
export { Authenticator } from './authenticator.js';
export { type CertificateRule, type CertificateSubject, Certificates, type RoleName } from './certificates.js';
export { type Credentials, Gate } from './gate.js';
export { hashOf, makeSecret, type Secret, tokenIdIn } from './secret.js';
