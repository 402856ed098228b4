/**
 * What the command line reads from the environment: where the server is and who asks. Flags come before it; profiles come
 * after it, unless one is chosen by a flag. An empty variable counts as unset.
 */
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Name and meaning, for the help; a server started from the same shell does not take them for misspelt ones. */
export const CLIENT_SETTINGS = {
  TAILRACE_URL: 'Address of the server. Default http://127.0.0.1:8233.',
  TAILRACE_TOKEN: 'Secret of the token to send.',
  TAILRACE_TOKEN_FILE: 'File that holds it instead.',
  TAILRACE_NAMESPACE: 'Namespace to work in. Default: the one the token is bound to.',
  TAILRACE_PROFILE: 'Profile to take these from.',
} as const;

export interface ClientSettings {
  readonly url: string | undefined;
  readonly token: string | undefined;
  readonly tokenFile: string | undefined;
  readonly namespace: string | undefined;
  readonly profile: string | undefined;
  /** Where the profiles lie. */
  readonly directory: string;
  /** No colors, whatever the terminal can do (https://no-color.org). */
  readonly noColor: boolean;
  /** A variable that a profile names. */
  variable(name: string): string | undefined;
}

export function readClientSettings(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): ClientSettings {
  const variable = (name: string) => environment[name] || undefined;
  return {
    url: variable('TAILRACE_URL'),
    token: variable('TAILRACE_TOKEN'),
    tokenFile: variable('TAILRACE_TOKEN_FILE'),
    namespace: variable('TAILRACE_NAMESPACE'),
    profile: variable('TAILRACE_PROFILE'),
    directory: join(variable('XDG_CONFIG_HOME') ?? join(variable('HOME') ?? homedir(), '.config'), 'tailrace'),
    noColor: variable('NO_COLOR') !== undefined || variable('TERM') === 'dumb',
    variable,
  };
}
