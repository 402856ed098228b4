/** What the README shows is what the repository runs. */
import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const readme = readFileSync('README.md', 'utf8');

/** The programs it shows, in their order. */
const EXAMPLES = ['examples/worker-in-twenty-lines.ts', 'examples/flow/sum-of-squares.ts'];

test('its programs are the examples that the tests run, with the names of the package', () => {
  const examples = EXAMPLES.map((path) =>
    readFileSync(path, 'utf8')
      .replace(/^\/\*\*.*\*\/\n/, '')
      .replace(/(\.\.\/)+src\/client\/index\.js/, 'tailrace/client')
      .replace(/(\.\.\/)+src\/worker\/index\.js/, 'tailrace/worker'),
  );
  expect([...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, shown]) => shown)).toEqual(examples);
  expect(examples[0]?.trimEnd().split('\n').length).toBeLessThanOrEqual(20);
});

test('its commands are scripts of the package, and its links lead somewhere', () => {
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> };
  for (const [, name = ''] of readme.matchAll(/npm run ([a-z]+)/g)) expect(Object.keys(scripts)).toContain(name);
  for (const [, target = ''] of readme.matchAll(/\]\(([^)#:]+)\)/g)) expect(existsSync(target), target).toBe(true);
});
