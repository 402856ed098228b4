/** What the exit code of a command says; scripts rely on it. */
export const EXIT = {
  ok: 0,
  refused: 1,
  usage: 2,
  unreachable: 3,
  notFound: 4,
  denied: 5,
  checkFailed: 6,
  interrupted: 130,
  terminated: 143,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** For the help, in this order. */
export const EXIT_CODES: readonly (readonly [number, string])[] = [
  [EXIT.ok, 'done'],
  [EXIT.refused, 'refused or failed, and the error says why; what was awaited did not end well'],
  [EXIT.usage, 'wrong usage, or input that cannot be read'],
  [EXIT.unreachable, 'the server cannot be reached, or is not able to serve now: try again'],
  [EXIT.notFound, 'there is no such thing'],
  [EXIT.denied, 'the token is missing or not good, or may not do this'],
  [EXIT.checkFailed, 'a check found something: verify, doctor'],
  [EXIT.interrupted, 'interrupted by Ctrl-C (143: by SIGTERM)'],
];
