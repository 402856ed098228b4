/** Dead letters: what gave up, and what people do about it. */
export { countDeadLetters, type LetterCount } from './count.js';
export type { LetterFilter } from './filter.js';
export { readDeadLetter, readDeadLetters } from './get.js';
export { COUNTED, type GroupKey, type GroupPage, type LetterGroup, listDeadLetterGroups } from './groups.js';
export type { LetterRow } from './letter-row.js';
export { type LetterList, type LetterPage, listDeadLetters } from './list.js';
export { type Purge, type Purged, purgeDeadLetters } from './purge.js';
export { type Redrive, type RedriveAnswer, type Redriven, redriveDeadLetter } from './redrive.js';
export { type EntryRedriveAnswer, redriveEntry } from './redrive-entry.js';
export { type EventRedriveAnswer, redriveEvent } from './redrive-event.js';
export { type ReopenAnswer, type Reopening, reopenDeadLetter } from './reopen.js';
export { type Resolution, type ResolveAnswer, resolveDeadLetters } from './resolve.js';
export { type Bucket, type LetterStats, LOOKED_AT, readDeadLetterStats } from './stats.js';
