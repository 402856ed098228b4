/** `tailrace dead-letters …` */
import { group } from '../command.js';
import { purgeDeadLetters, reopenDeadLetter, resolveDeadLetters } from './dead-letters-close.js';
import { countDeadLetters, deadLetterStats, listDeadLetters, listGroups, showDeadLetter } from './dead-letters-read.js';
import { redriveDeadLetter } from './dead-letters-redrive.js';
import { redriveMany } from './redrive-many.js';
import { redrives } from './redrives.js';

export const deadLetters = group('dead-letters', 'The desk where what gave up waits for people.', [
  listDeadLetters,
  listGroups,
  showDeadLetter,
  deadLetterStats,
  countDeadLetters,
  redriveDeadLetter,
  redriveMany,
  redrives,
  resolveDeadLetters,
  reopenDeadLetter,
  purgeDeadLetters,
]);
