/** The options that every command takes, before its name or after it. */

import type { Rule } from './command.js';
import { spanMs } from './spans.js';
import { UsageError } from './usage-error.js';

const words = (
  value: string,
  about: string,
  more: Partial<Rule<string | undefined>> = {},
): Rule<string | undefined> => ({
  about,
  value: `<${value}>`,
  ...more,
  parse: (given) => given,
});

const switched = (about: string): Rule<boolean> => ({ about, value: '', parse: () => true });

/** How long an answer may take, beside what it is asked to wait. */
export const STANDARD_TIMEOUT_MS = 30_000;

export const COMMON = {
  json: switched('Answer in JSON: one document, or for streams one per line.'),
  absolute: switched('Show times in UTC instead of how long ago they are.'),
  url: words('url', 'Address of the server. Default http://127.0.0.1:8233.'),
  namespace: words('name', 'Namespace to work in; * for all, where the token may.', {
    short: '-n',
    names: 'namespaces',
  }),
  tokenFile: words('file', 'File that holds the secret of the token.', { file: true }),
  profile: words('name', 'Profile to use (tailrace profile list).', { short: '-p' }),
  ca: words('file', 'PEM certificates to trust instead of the system.', { file: true }),
  cert: words('file', 'PEM certificate of this client.', { file: true }),
  key: words('file', 'Its PEM private key.', { file: true }),
  timeout: {
    about: 'Give up when an answer takes longer. Default 30s.',
    value: '<span>',
    parse(given) {
      const ms = spanMs(given);
      if (!ms) throw new UsageError(`must be a length of time such as 10s; it is "${given}"`);
      return ms;
    },
  } satisfies Rule<number> as Rule<number>,
};
