/** Namespaces: what they are set to, and what they still show. */
export { hiddenExecutions, isFlowHidden } from './hidden.js';
export { listNamespaces, readNamespace } from './list.js';
export type { NamespaceRow } from './namespace-row.js';
export { readPayloadBytes } from './payload-bytes.js';
export { type NamespaceRule, putNamespace } from './put.js';
