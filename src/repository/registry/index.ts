/** Namespaces, lanes and claim classes. */
export {
  type ClaimClass,
  type ClassKey,
  internClasses,
  readClaimClasses,
  readRegistryVersion,
} from './classes.js';
export { readDrainingWorkers } from './draining.js';
export { type LaneDefaults, readLanes } from './lanes.js';
export { ensureNamespace, findNamespace, type Namespace, readNamespaces } from './namespaces.js';
