/** The program as it is written down: its reference, its completion, and that no two things have one name. */
import { expect, it } from 'vitest';
import { CATALOG } from '../../../src/cli/catalog.js';
import { flagOf, leavesOf } from '../../../src/cli/command.js';
import { fishScript } from '../../../src/cli/completion/fish.js';
import { completedCommands } from '../../../src/cli/completion/words.js';
import { zshScript } from '../../../src/cli/completion/zsh.js';
import { COMMON } from '../../../src/cli/global-options.js';
import { line } from '../../support/cli/line.js';
import { reference } from '../../support/cli/reference.js';

const nodes = await Promise.all(CATALOG.map(({ load }) => load()));
const leaves = leavesOf(nodes);

it('has the reference that is written down', async () => {
  const renew = 'if this is meant: npx vitest run --project unit test/unit/cli/program -u';
  await expect(await reference(), renew).toMatchFileSnapshot('../../../docs/cli.md');
});

it('is listed under the names and with the words that its groups have', () => {
  expect(nodes.map(({ name }) => name)).toEqual(CATALOG.map(({ name }) => name));
  const groups = nodes.filter((node) => 'members' in node).map(({ name, about }) => [name, about]);
  const listed = new Map(CATALOG.map(({ name, about }) => [name, about]));
  expect(groups).toEqual(groups.map(([name = '']) => [name, listed.get(name)]));
});

it('says everything in a sentence, and gives an example of everything', () => {
  const shown = leaves.filter(({ leaf }) => !leaf.hidden);
  const abouts = shown.flatMap(({ leaf }) => [
    leaf.about,
    ...[...leaf.options, ...leaf.arguments].map(([, { about }]) => about),
  ]);
  expect(abouts.filter((about) => !/^[A-Z].*[.?]$/.test(about))).toEqual([]);
  expect(shown.filter(({ leaf }) => leaf.examples.length === 0).map(({ path }) => path)).toEqual([]);
});

it('has no option that another one of the same command hides', () => {
  for (const { path, leaf } of leaves) {
    const flags = [...leaf.options, ...Object.entries(COMMON)].flatMap(([key, { short }]) => [
      flagOf(key),
      short ?? '',
    ]);
    const named = flags.filter((flag) => flag !== '');
    expect([path, named.filter((flag, index) => named.indexOf(flag) !== index)]).toEqual([path, []]);
    expect(named.filter((flag) => flag.startsWith('--no-'))).toEqual([]);
  }
});

it('completes every command and option in zsh and fish', async () => {
  const commands = await completedCommands(CATALOG);
  const [zsh, fish] = [zshScript(commands), fishScript(commands)];
  for (const { path, leaf } of leaves.filter(({ leaf }) => !leaf.hidden)) {
    expect(zsh).toContain(`' ${path.join(' ')}') at=' ${path.join(' ')}' ;;`);
    for (const [key] of leaf.options) {
      expect(fish).toContain(`'__tailrace_at \\' ${path.join(' ')}\\'' -l ${flagOf(key).slice(2)} `);
    }
  }
  // An apostrophe in a sentence ends no word: quotes are even in every line.
  for (const text of zsh.split('\n')) expect((text.replaceAll("'\\''", '').match(/'/g) ?? []).length % 2).toBe(0);
});

it('explains itself without a server, and a group without a command', async () => {
  expect(await line(['--help'])).toMatchObject({ code: 0, out: expect.stringContaining('Exit codes:'), error: '' });
  expect(await line(['help', 'lanes'])).toMatchObject({
    code: 0,
    out: expect.stringContaining('Usage: tailrace lanes'),
  });
  expect(await line(['lanes'])).toMatchObject({ code: 2, error: expect.stringContaining('Usage: tailrace lanes') });
});
