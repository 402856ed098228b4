/** Pages of a list: tokens that belong to one call, namespace and filter, and whose keys are of the expected form. */
import { EngineError } from '../domain/errors.js';
import { decodePageToken, encodePageToken } from '../domain/page-token.js';

type KeyForm = 'id' | 'number' | 'position' | 'text';

/** What passes fits the column that it is compared with: a token may be forged, and must not make a statement fail. */
const FORMS: Readonly<Record<KeyForm, RegExp>> = {
  id: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
  number: /^\d{1,9}$/,
  position: /^\d{1,18}$/,
  text: /^[^\0\p{Surrogate}]*$/u,
};

export class Pages {
  readonly #bound: string;
  readonly #forms: readonly KeyForm[];

  /** `filter`: everything but size and token that decides what the list holds. `forms`: of its keys. */
  constructor(call: string, filter: unknown, forms: readonly KeyForm[]) {
    this.#bound = JSON.stringify([call, filter], (_, value) => (typeof value === 'bigint' ? `${value}` : value));
    this.#forms = forms;
  }

  /** The keys that the page before ended with; undefined for the first page. */
  keys(token: string): string[] | undefined {
    if (token === '') return undefined;
    const keys = decodePageToken(token, this.#bound);
    if (keys.length === this.#forms.length && keys.every((key, i) => FORMS[this.#forms[i] ?? 'text'].test(key))) {
      return keys;
    }
    throw new EngineError('BAD_CURSOR', 'the page token cannot be used: it is damaged');
  }

  /** Empty when there is no further page. */
  token(next: readonly (string | number | bigint)[] | undefined): string {
    return next === undefined ? '' : encodePageToken(this.#bound, next.map(String));
  }
}
