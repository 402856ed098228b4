/** Namespaces, lanes and claim classes. */
export {
  type ClaimClass,
  type ClassKey,
  ensureNamespace,
  findNamespace,
  internClasses,
  type Namespace,
  readClaimClasses,
  readNamespaces,
  readRegistryVersion,
} from './classes.js';
export { readDrainingWorkers } from './draining.js';
export { type LaneDefaults, readLanes } from './lanes.js';
