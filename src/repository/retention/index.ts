/** What lets go of the past. */
export { type Kept, moveFloors, readFloor } from './floors.js';
export { KEY_SUBJECTS, type KeySubject, type KeySweep, type KeysSwept, sweepKeys } from './keys.js';
export { type LettersPartOptions, lettersPart } from './letters.js';
export * from './log.js';
export { addRetired, NOTHING_RETIRED, type RetentionHold, type RetentionPart, type RetentionResult } from './part.js';
export {
  type DroppedPartitions,
  type PartitionPartOptions,
  type PartitionSubject,
  partitionHolds,
  partitionPart,
} from './partitions.js';
export { sidesPart } from './sides.js';
export { type Frontiers, readFrontiers, type StoredTable, storedTables } from './storage.js';
