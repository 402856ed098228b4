/** Looking at flows and joins. */
export { type EdgeKey, type EdgeRow, listEdges } from './edges.js';
export { type FailedFlowKey, type FailedFlowRow, listFailedFlows } from './failed.js';
export type { FailureRow, FlowRow } from './flow-row.js';
export { readFlow } from './get.js';
export { type JoinRow, listJoins, readWait, type WaitRow } from './joins.js';
export { type FlowFilter, listFlows } from './list.js';
export { listMembers } from './members.js';
export { readTree, type TreeNode, type TreePlace } from './tree.js';
