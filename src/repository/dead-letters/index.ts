/** Dead letters: what gave up, and what people do about it. */
export type { LetterFilter } from './filter.js';
export { readDeadLetter, readDeadLetters } from './get.js';
export type { LetterRow } from './letter-row.js';
export { countDeadLetters, type LetterList, type LetterPage, listDeadLetters } from './list.js';
export { type Redrive, type RedriveAnswer, type Redriven, redriveDeadLetter } from './redrive.js';
export { type EventRedriveAnswer, redriveEvent } from './redrive-event.js';
export { type Resolution, type ResolveAnswer, resolveDeadLetters } from './resolve.js';
