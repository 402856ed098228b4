/** Consumers: named, durable followers of the log. */

export { type AcquireAnswer, type AcquireAsk, acquireParts, type HeldPart } from './acquire.js';
export * from './admin/index.js';
export { type CommitAnswer, type CommitAsk, commitPart } from './commit.js';
export {
  type EntryFailure,
  type FailAnswer,
  type FailAsk,
  type FailingPart,
  failEntry,
  readFailingPart,
  readParkedBetween,
} from './fail.js';
export { type FetchedPart, fetchPart, type RefusedPart, readConsumerSpec } from './fetch.js';
export { leaveConsumer } from './leave.js';
export type { EntryLetter } from './new-letter.js';
export { type HeldPlace, type OfferedLetter, offerLetters } from './offer.js';
export { type ParkAnswer, parkEntries, readHeldKeys } from './park.js';
export type { Holding, PartRef } from './part-ref.js';
export { type ConsumerPlaces, readPlaces } from './places.js';
export { type ReleaseAnswer, type ReleaseAsk, releaseParts } from './release.js';
