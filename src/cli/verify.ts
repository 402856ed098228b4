/** `tailrace verify [--json]`: checks every rule across tables and says what breaks them. Changes nothing. */
import { parseArgs } from 'node:util';

/** One rule and what was found against it. */
export interface VerifiedRule {
  readonly name: string;
  readonly rule: string;
  readonly violations: readonly string[];
  readonly more: boolean;
}

/**
 * Runs the checks and says what came of them. Answers the exit code: 0 when every rule holds, 1 when one is broken, 2
 * for arguments it does not know.
 */
export async function verifyCommand(
  args: readonly string[],
  check: () => Promise<readonly VerifiedRule[]>,
  say: (text: string) => void,
): Promise<number> {
  let json: boolean;
  try {
    json = parseArgs({ args: [...args], options: { json: { type: 'boolean' } } }).values.json ?? false;
  } catch (error) {
    say(`${(error as Error).message}\nusage: tailrace verify [--json]`);
    return 2;
  }
  const rules = await check();
  const broken = rules.filter(({ violations }) => violations.length > 0);
  say(json ? JSON.stringify({ ok: broken.length === 0, rules }) : report(rules, broken));
  return broken.length === 0 ? 0 : 1;
}

function report(rules: readonly VerifiedRule[], broken: readonly VerifiedRule[]): string {
  const lines = rules.map(
    ({ name, rule, violations }) => `${violations.length === 0 ? 'ok    ' : 'BROKEN'} ${name}: ${rule}`,
  );
  const samples = broken.flatMap(({ name, violations, more }) => [
    '',
    `${name} is broken by:`,
    ...violations.map((violation) => `  ${violation}`),
    ...(more ? ['  and more'] : []),
  ]);
  const sum =
    broken.length === 0 ? `all ${rules.length} rules hold` : `${broken.length} of ${rules.length} rules are broken`;
  return [...lines, ...samples, '', sum].join('\n');
}
