/** The log's door to SQL: numbering, reading, and what readers need to know beside it. */
export { type ExecutionDetail, type ExecutionOutcome, readDetails, readStates } from './details.js';
export type { LogEntry } from './entry.js';
export { type FlowNames, type FlowStanding, readFlowNames, readFlowStandings } from './flows.js';
export { type LogFloorRows, type LogHead, positionOf, readLogFloors, readLogHead } from './head.js';
export { type History, type HistoryPage, type HistoryPlace, readHistory } from './history.js';
export { type ClassNames, readClassNames, readNamespaceNames } from './names.js';
export { ensureLogPartitions, LOG_PARTITION_STEP } from './partitions.js';
export { readPositions } from './positions.js';
export { readLog } from './read.js';
export { type RenewedLog, renewIncarnation } from './renew.js';
export { type LogStep, stepLog } from './step.js';
export { listenForWakes, sendWake } from './wakes.js';
