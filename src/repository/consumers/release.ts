/** Gives parts back, in one statement. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import type { PartRef } from './part-ref.js';

const release = statement(
  'consumers.release',
  'select verdict, released, woke from {schema}.release_parts($1, $2, $3, $4::bigint[], $5::int[], $6::bigint[])',
);

export interface ReleaseAsk {
  readonly namespace: number;
  readonly consumer: string;
  readonly owner: string;
  /** Null: all that it has, and it waits for none any more. */
  readonly parts: readonly PartRef[] | null;
}

export interface ReleaseAnswer {
  readonly verdict: 'released' | 'not_found';
  readonly released: number;
  /** Somebody waits for them. */
  readonly woke: boolean;
}

export async function releaseParts(runner: Runner, asked: ReleaseAsk): Promise<ReleaseAnswer> {
  const { namespace, consumer, owner, parts } = asked;
  const [answer] = await runner.query<ReleaseAnswer>(release, [
    namespace,
    consumer,
    owner,
    parts?.map(({ generation }) => generation) ?? null,
    parts?.map(({ part }) => part) ?? null,
    parts?.map(({ epoch }) => epoch) ?? null,
  ]);
  if (answer === undefined) throw new Error('release_parts answered nothing');
  return answer;
}
