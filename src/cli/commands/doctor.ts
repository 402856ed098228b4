/** `tailrace doctor`: what is wrong with the machine, the settings and the database, and what to do about it. */
import { command } from '../command.js';
import { EXIT } from '../exit-codes.js';
import type { Diagnosis, Finding } from '../host.js';
import { document } from '../json.js';
import { type Output, plain } from '../output.js';
import { flag } from '../rules.js';

const WORDS = { ok: 'ok     ', warning: 'WARNING', problem: 'PROBLEM' } as const;
const COLORS = { ok: 'green', warning: 'yellow', problem: 'red' } as const;

export const doctor = command({
  name: 'doctor',
  about: 'Look for what is wrong with the machine, the settings and the database. Changes nothing.',
  details:
    'Tells which migrations this version would apply, with their locks, and whether servers that run now may go on. ' +
    'Ends with 6 if there is a problem; a warning alone ends with 0.',
  local: 'alone',
  options: { verify: flag('Check every rule across the tables as well, as tailrace verify does.') },
  examples: [
    ['Before a server starts, or before an upgrade with the new version', 'DATABASE_URL=postgres://… tailrace doctor'],
    ['For a program', 'tailrace doctor --json | jq \'.findings[] | select(.state == "problem")\''],
  ],
  async run({ host, output }, { verify }) {
    const diagnosis = await host.doctor(verify);
    const ok = diagnosis.findings.every(({ state }) => state !== 'problem');
    await output.write(output.json ? document({ ok, ...diagnosis }) : report(diagnosis, output));
    return ok ? EXIT.ok : EXIT.checkFailed;
  },
});

function report({ schema, pending, servers, findings }: Diagnosis, output: Output): string {
  const count = (asked: Finding['state']) => findings.filter(({ state }) => state === asked).length;
  const known = schema && [
    `schema ${plain(schema.name)}: at migration ${schema.version}, this version knows ${schema.known}`,
    ...pending.map(
      ({ name, locks, olderServers }) =>
        `  pending ${name}: older servers ${olderServers ? 'may go on' : 'must be stopped'}; locks: ${plain(locks)}`,
    ),
    servers.length === 0 ? 'no server is connected' : 'connected servers:',
    ...servers.map(({ name, address, connections }) => `  ${plain(name)} from ${address}: ${connections} connections`),
    '',
  ];
  return [
    ...(known ?? []),
    ...findings.flatMap((finding) => lines(finding, output)),
    '',
    `${count('problem')} problems, ${count('warning')} warnings`,
  ].join('\n');
}

function lines({ name, state, message, hurts, mend }: Finding, output: Output): string[] {
  return [
    `${output.style(COLORS[state], WORDS[state])} ${plain(name)}: ${plain(message)}`,
    ...(hurts === undefined ? [] : [`        hurts: ${plain(hurts)}`]),
    ...(mend === undefined ? [] : [`        mend:  ${plain(mend)}`]),
  ];
}
