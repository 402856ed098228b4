import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { brokenLinks, count } from '../../../examples/quickstart/analyze-markdown.js';
import { findMarkdown } from '../../../examples/quickstart/find-markdown.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tailrace-markdown-'));
  await mkdir(join(folder, 'sub', 'node_modules'), { recursive: true });
  await writeFile(join(folder, 'a.md'), '# A');
  await writeFile(join(folder, 'sub', 'B b.MARKDOWN'), '# B');
  await writeFile(join(folder, 'sub', 'c.txt'), 'no');
  await writeFile(join(folder, 'sub', 'node_modules', 'd.md'), '# D');
  await symlink('/', join(folder, 'sub', 'out'));
  await symlink(join(folder, 'a.md'), join(folder, 'linked.md'));
});
afterAll(() => rm(folder, { recursive: true }));

describe('count', () => {
  test('headings of both kinds, but no rules and no comments in code', () => {
    const text = ['# One', 'Two', '===', '', '---', '```sh', '# not one', '```', '#no', '###### Three'].join('\n');
    expect(count(text).headings).toBe(3);
  });

  test('words, without code and the addresses of links', () => {
    expect(count("Don't count `code here`, but [the text](https://example.org/not-this) and größe 42").words).toBe(8);
  });

  test('links of every kind', () => {
    const text = [
      '[a](one.md "title") ![b](two.png) [![c](three.svg)](four.md)',
      '[d]: five.md',
      '<https://six.org> <a href="seven.html">x</a>',
      '`[no](code.md)`',
    ].join('\n');
    expect(count(text).links.sort()).toEqual(
      ['one.md', 'two.png', 'three.svg', 'four.md', 'five.md', 'https://six.org', 'seven.html'].sort(),
    );
  });

  test('nothing in nothing', () => {
    expect(count('')).toEqual({ words: 0, headings: 0, links: [] });
  });
});

test('relative links are broken if they lead nowhere inside the folder', async () => {
  const links = [
    'sub/B%20b.MARKDOWN#heading',
    'sub/',
    'gone.md',
    'gone.md',
    '%zz.md',
    '../outside.md',
    '/absolute.md',
    '#anchor',
    'https://example.org/x.md',
    'mailto:a@example.org',
    '%00',
  ];
  expect(await brokenLinks(folder, 'a.md', links)).toEqual(['gone.md', '%zz.md']);
  expect(await brokenLinks(folder, join('sub', 'B b.MARKDOWN'), ['../a.md', 'a.md'])).toEqual(['a.md']);
});

test('files are found without following links, and what is installed is left out', async () => {
  expect((await findMarkdown(folder, 10)).files).toEqual(['a.md', join('sub', 'B b.MARKDOWN')]);
  expect(await findMarkdown(folder, 1)).toMatchObject({ files: ['a.md'], leftOut: 1 });
  expect((await findMarkdown(join(folder, 'sub', 'node_modules'), 10)).files).toEqual(['d.md']);
  await expect(findMarkdown(join(folder, 'gone'), 10)).rejects.toThrow(/gone is not a folder/);
});
