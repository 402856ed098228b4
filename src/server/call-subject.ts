/**
 * What a call was about, for its line in the log: ids and names out of request and answer, as far as there is one of each. Of
 * many only how many. Nothing that callers have written freely is looked at.
 */

export interface CallSubject {
  readonly execution?: string;
  readonly attempt?: number;
  readonly lane?: string;
  readonly flow?: string;
  /** Items of a call that takes many; leases that it brought. */
  readonly items?: number;
  readonly claims?: number;
}

/** As messages of the contract call them; each holds items about one execution. */
const LISTS = ['executions', 'completions', 'reports', 'renewals', 'leases', 'members', 'events'] as const;

type Fields = Readonly<Record<string, unknown>>;

export function subjectOf(input: unknown, output: unknown): CallSubject {
  const asked = fields(input);
  const answered = fields(output);
  const list = LISTS.map((name) => asked[name]).find(Array.isArray);
  const item = list?.length === 1 ? fields(list[0]) : {};
  const [result] = Array.isArray(answered['results']) && list?.length === 1 ? answered['results'] : [];
  const claims = Array.isArray(answered['claims']) ? answered['claims'] : answered['claim'] ? [answered['claim']] : [];
  const claim = claims.length === 1 ? fields(claims[0]) : {};
  const execution = first([
    ...[claim['executionId'], asked['executionId'], fields(asked['lease'])['executionId'], item['executionId']],
    ...[fields(item['lease'])['executionId'], fields(fields(fields(result)['result'])['value'])['executionId']],
  ]);
  const flow = first([claim['flowId'], asked['flowId'], item['flowId'], answered['flowId']]);
  const lane = first([claim['lane'], asked['lane'], item['lane']]);
  const attempt = claim['attemptNumber'] ?? asked['attemptNumber'];
  return {
    ...(execution && { execution }),
    ...(typeof attempt === 'number' && attempt > 0 && { attempt }),
    ...(lane && { lane }),
    ...(flow && { flow }),
    ...(list && list.length !== 1 && { items: list.length }),
    ...(claims.length > 0 && { claims: claims.length }),
  };
}

function fields(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {};
}

function first(candidates: readonly unknown[]): string | undefined {
  return candidates.find((candidate): candidate is string => typeof candidate === 'string' && candidate !== '');
}
