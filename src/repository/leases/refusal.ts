/** The words in which the database refuses a holder, and what it says with them. */

export interface LeaseRef {
  readonly namespace: number;
  readonly execution: string;
  readonly lease: string;
  readonly token: bigint;
}

const REFUSALS = [
  'busy',
  'canceling',
  'expired',
  'not_found',
  'other_content',
  'revoked',
  'superseded',
  'terminal',
] as const;

export interface Refused {
  /** busy: nothing is wrong, the row was locked by somebody; try again. */
  readonly verdict: (typeof REFUSALS)[number];
  /** Of the execution, once it has ended. */
  readonly state: number | null;
  readonly attempt: number | null;
  readonly token: bigint | null;
}

export function isRefused(answer: { readonly verdict: string }): answer is Refused {
  return (REFUSALS as readonly string[]).includes(answer.verdict);
}
