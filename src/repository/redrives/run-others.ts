/** Routes given-up events again, and offers parked entries again: what has a letter and is no execution. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import type { Done, Held, Taken } from './hold.js';

const routeEvents = statement(
  'redrives.route-events',
  `select u.letter, r.verdict from unnest($2::uuid[], $3::bigint[]) u (letter, version)
   cross join lateral {schema}.redrive_event($1::int, u.letter, null, null, u.version, $4::text, $5::text) r`,
);

const offerEntries = statement(
  'redrives.offer-entries',
  `select u.letter, r.verdict from unnest($2::uuid[], $3::bigint[]) u (letter, version)
   cross join lateral {schema}.redrive_entry($1::int, u.letter, null, null, u.version, $4::text, $5::text) r`,
);

const link = statement(
  'redrives.link',
  'update {schema}.dead_letter d set redrive = $1::uuid where d.id = any ($2::uuid[])',
);

/** Of letters that the caller holds, all of one subject. What cannot be done as it was asked for is passed over. */
export async function runOthers(
  runner: Runner,
  { redrive, namespace, actor, note, ...rest }: Held,
  letters: readonly Taken[],
  kind: 'events' | 'entries',
): Promise<Done[]> {
  if (letters.length === 0) return [];
  if (rest.patch !== null || rest.lane !== null || rest.detached) {
    return letters.map(({ letter }) => ({ letter, became: 'passed_over', execution: null }));
  }
  const answers = await runner.query<{ letter: string; verdict: string }>(
    kind === 'events' ? routeEvents : offerEntries,
    [namespace, letters.map(({ letter }) => letter), letters.map(({ version }) => version), actor, note],
  );
  const again = new Set(answers.filter(({ verdict }) => verdict === 'redriven').map(({ letter }) => letter));
  if (again.size > 0) await runner.query(link, [redrive, [...again]]);
  return letters.map(({ letter }) => ({
    letter,
    became: again.has(letter) ? 'runs' : 'passed_over',
    execution: null,
  }));
}
