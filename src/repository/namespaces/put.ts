/** Makes or changes a namespace. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const put = statement(
  'namespaces.put',
  'select verdict, version from {schema}.put_namespace($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)',
);

/** Nulls are the server's settings. */
export interface NamespaceRule {
  readonly description: string;
  readonly keepExecutionsMs: number | null;
  readonly keepLogMs: number | null;
  readonly keepLettersMs: number | null;
  readonly keepEventIdsMs: number | null;
  readonly eventIdsForever: boolean;
  readonly maxPayloadBytes: bigint | null;
  readonly maxHops: number;
}

export interface NewNamespace {
  readonly name: string;
  readonly rule: NamespaceRule;
  /** 0: any. */
  readonly expectedVersion: bigint;
  readonly actor: string;
}

export interface PutNamespaceAnswer {
  /** same: nothing differed, nothing was written. conflict: `version` is another one than expected, 0 where there is none. */
  readonly verdict: 'made' | 'changed' | 'same' | 'conflict';
  readonly version: bigint;
}

export async function putNamespace(runner: Runner, asked: NewNamespace): Promise<PutNamespaceAnswer> {
  const { name, rule, expectedVersion, actor } = asked;
  const [answer] = await runner.query<PutNamespaceAnswer>(put, [
    name,
    rule.description,
    rule.keepExecutionsMs,
    rule.keepLogMs,
    rule.keepLettersMs,
    rule.keepEventIdsMs,
    rule.eventIdsForever,
    rule.maxPayloadBytes,
    rule.maxHops,
    expectedVersion,
    actor,
  ]);
  if (answer === undefined) throw new Error('put_namespace answered nothing');
  return answer;
}
