/** `tailrace verify`: checks every rule across tables and says what breaks them. Changes nothing. */
import { command } from '../command.js';
import { EXIT } from '../exit-codes.js';
import type { VerifiedRule } from '../host.js';
import { plain } from '../output.js';

export const verify = command({
  name: 'verify',
  about: 'Check every rule across the tables and say what breaks them. Changes nothing.',
  details: 'Ends with 6 if a rule is broken.',
  local: 'alone',
  examples: [['For a program', "DATABASE_URL=postgres://… tailrace verify --json | jq '.ok'"]],
  async run({ host, output }) {
    const rules = await host.verify();
    const broken = rules.filter(({ violations }) => violations.length > 0);
    await output.write(output.json ? JSON.stringify({ ok: broken.length === 0, rules }) : report(rules, broken));
    return broken.length === 0 ? EXIT.ok : EXIT.checkFailed;
  },
});

function report(rules: readonly VerifiedRule[], broken: readonly VerifiedRule[]): string {
  const lines = rules.map(
    ({ name, rule, violations }) => `${violations.length === 0 ? 'ok    ' : 'BROKEN'} ${name}: ${rule}`,
  );
  const samples = broken.flatMap(({ name, violations, more }) => [
    '',
    `${name} is broken by:`,
    ...violations.map((violation) => `  ${plain(violation)}`),
    ...(more ? ['  and more'] : []),
  ]);
  const sum =
    broken.length === 0 ? `all ${rules.length} rules hold` : `${broken.length} of ${rules.length} rules are broken`;
  return [...lines, ...samples, '', sum].join('\n');
}
