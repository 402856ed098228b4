/** What is shown of the whole installation, read in one statement. */
export {
  COUNTED,
  type ConsumerStanding,
  type LineStretch,
  readSnapshot,
  type Snapshot,
  type SnapshotAsk,
} from './snapshot.js';
