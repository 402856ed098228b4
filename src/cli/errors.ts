/** How a failure is told: `reason: message`, every refused field, what to do about it; and the exit code it ends with. */
import { Code, ConnectError } from '@connectrpc/connect';
import { asTailraceError, TailraceError } from '../client/errors.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { plain } from './output.js';
import { spanText } from './spans.js';

/** What a person can do about a refusal. */
const ADVICE: Readonly<Record<string, string>> = {
  INVALID_TOKEN: 'give a good one with --token-file, TAILRACE_TOKEN or a profile (tailrace profile add)',
  ROLE_REQUIRED: 'ask an admin for a token with that role (tailrace tokens create)',
  NAMESPACE_DENIED: 'choose the namespace of the token with --namespace, or take another token',
  NAMESPACE_NOT_FOUND: 'tailrace namespaces list tells what there is',
  LANE_NOT_FOUND: 'tailrace lanes list tells what there is',
  CONSUMER_NOT_FOUND: 'tailrace consumers list tells what there is',
  SUBSCRIPTION_NOT_FOUND: 'tailrace subscriptions list tells what there is',
  BUDGET_NOT_FOUND: 'tailrace budgets list tells what there is',
  WORKER_NOT_FOUND: 'tailrace workers list tells what there is',
  TOKEN_NOT_FOUND: 'tailrace tokens list tells what there is',
  BAD_CURSOR: 'a page token belongs to the filter it came with: repeat without it, or with the same filter',
  CURSOR_PRUNED: 'what it points to is kept no longer: begin with --from earliest',
  VERSION_CONFLICT: 'somebody else has changed it: look again, then repeat',
  WRONG_STATE: 'look at its state again',
  CONTENTION: 'others change the same: repeat it',
  OVERLOADED: 'repeat it later',
  DATABASE_UNAVAILABLE: 'the server does not reach its database: repeat it later',
  DRAINING: 'the server is stopping: repeat it, another one may answer',
};

/** Of refusals that waiting cures. */
const LATER = ['DATABASE_UNAVAILABLE', 'DRAINING', 'OVERLOADED', 'TOO_MANY_STREAMS'];
/** Without a reason: nothing that speaks for the engine has answered. */
const NO_ANSWER = [Code.Unavailable, Code.DeadlineExceeded, Code.Aborted, Code.Canceled, Code.Internal, Code.Unknown];

export interface Told {
  readonly exitCode: ExitCode;
  /** For people, lines. */
  readonly text: string;
  /** For programs. */
  readonly json: Readonly<Record<string, unknown>>;
}

export function isCallError(thrown: unknown): boolean {
  return thrown instanceof TailraceError || thrown instanceof ConnectError;
}

export function tellCallError(thrown: unknown, url: string): Told {
  const error = asTailraceError(thrown);
  const exitCode = exitCodeOf(error);
  const { reason, retryDelayMs, violations, metadata } = error;
  const advice = adviceFor(error, url);
  const lines = [
    `${reason ?? codeName(error.code)}: ${plain(error.message)}`,
    ...violations.map(({ field, description }) => `  ${field}: ${plain(description)}`),
    ...(retryDelayMs ? [`  again in ${spanText(retryDelayMs)}`] : []),
    ...(advice ? [`  ${advice}`] : []),
  ];
  const json = {
    code: codeName(error.code),
    ...(reason !== undefined && { reason }),
    message: error.message,
    ...(Object.keys(metadata).length > 0 && { metadata }),
    ...(retryDelayMs !== undefined && { retryDelayMs }),
    ...(violations.length > 0 && { violations }),
    ...(advice && { advice }),
    exitCode,
  };
  return { exitCode, text: lines.join('\n'), json };
}

function exitCodeOf({ code, reason }: TailraceError): ExitCode {
  if (reason === undefined ? NO_ANSWER.includes(code) : LATER.includes(reason)) return EXIT.unreachable;
  if (code === Code.NotFound && reason !== undefined) return EXIT.notFound;
  if (code === Code.PermissionDenied || code === Code.Unauthenticated) return EXIT.denied;
  return EXIT.refused;
}

function adviceFor({ code, reason, metadata }: TailraceError, url: string): string {
  if (reason === 'VERSION_CONFLICT' && metadata['current_version']) {
    return `somebody else has changed it; it is at version ${metadata['current_version']}: look again, then repeat`;
  }
  if (reason !== undefined) return ADVICE[reason] ?? '';
  if (NO_ANSWER.includes(code))
    return `no answer from ${url}: is a server there? --url, TAILRACE_URL or a profile say where it is`;
  return code === Code.Unimplemented || code === Code.NotFound ? `${url} is no server of this version` : '';
}

/** As in the manual: `NOT_FOUND`. */
function codeName(code: Code): string {
  return Code[code].replace(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase();
}
