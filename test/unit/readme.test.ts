/** What the README shows is what the repository runs. */
import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const readme = readFileSync('README.md', 'utf8');

test('its worker is the example that the tests run, with the names of the package', () => {
  const example = readFileSync('examples/worker-in-twenty-lines.ts', 'utf8')
    .replace(/^\/\*\*.*\*\/\n/, '')
    .replace('../src/client/index.js', 'tailrace/client')
    .replace('../src/worker/index.js', 'tailrace/worker');
  const [, shown] = /```ts\n([\s\S]*?)```/.exec(readme) ?? [];
  expect(shown).toBe(example);
  expect(example.trimEnd().split('\n').length).toBeLessThanOrEqual(20);
});

test('its commands are scripts of the package, and its links lead somewhere', () => {
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> };
  for (const [, name = ''] of readme.matchAll(/npm run ([a-z]+)/g)) expect(Object.keys(scripts)).toContain(name);
  for (const [, target = ''] of readme.matchAll(/\]\(([^)#:]+)\)/g)) expect(existsSync(target), target).toBe(true);
});
