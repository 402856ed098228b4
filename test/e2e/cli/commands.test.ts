/** Every command of the command line against a server: for people, for programs, and its help. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CATALOG } from '../../../src/cli/catalog.js';
import { leavesOf } from '../../../src/cli/command.js';
import { CASES, type Fresh, WITHOUT_DOCUMENT } from '../../support/cli/cases.js';
import { freshIn } from '../../support/cli/fresh.js';
import { line } from '../../support/cli/line.js';
import { type Estate, makeEstate } from '../../support/estate.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

const leaves = leavesOf(await Promise.all(CATALOG.map(({ load }) => load())));

let tailrace: TestTailrace;
let estate: Estate;
let fresh: Fresh;
let directory: string;
let environment: Record<string, string>;

beforeAll(async () => {
  tailrace = await startTailrace();
  estate = await makeEstate(tailrace, 'acme');
  fresh = freshIn(tailrace, 'acme', 'acme');
  directory = mkdtempSync(join(tmpdir(), 'cli-'));
  environment = {
    TAILRACE_URL: tailrace.url,
    TAILRACE_NAMESPACE: 'acme',
    XDG_CONFIG_HOME: directory,
    DATABASE_URL: tailrace.database.url,
    TAILRACE_SCHEMA: tailrace.database.schema,
  };
});
afterAll(async () => {
  rmSync(directory, { recursive: true });
  await tailrace.stop();
});

it('has a case for every command, and a command for every case', () => {
  expect(Object.keys(CASES).sort()).toEqual(leaves.map(({ path }) => path.join(' ')).sort());
});

it.each(leaves.map(({ path }) => path.join(' ')))('explains %s with an example', async (path) => {
  const { code, out, error } = await line([...path.split(' '), '--help']);
  expect([code, error]).toEqual([0, '']);
  expect(out).toContain(`Usage: tailrace ${path}`);
  const { leaf } = leaves.find((found) => found.path.join(' ') === path) ?? {};
  if (!leaf?.hidden) expect(out).toMatch(new RegExp(`Examples:\\n {2}# .+\\n {2}.*tailrace ${path}`));
});

describe.each(Object.entries(CASES))('%s', (path, { words, sees, key = 'items', lines = false, stdin, code = 0 }) => {
  const type = async (...more: string[]) =>
    await line([...path.split(' '), ...(await words(estate, fresh)), ...more], {
      environment,
      ...(stdin && { stdin: stdin(estate) }),
    });

  it('tells people', async () => {
    const said = await type();
    expect(said).toMatchObject({ code });
    const wanted = sees(estate);
    const seen = [said.out, said.error].find((text) =>
      typeof wanted === 'string' ? text.includes(wanted) : wanted.test(text),
    );
    if (seen === undefined) expect(said).toBe(wanted);
  });

  it.skipIf(WITHOUT_DOCUMENT.includes(path))('tells programs', async () => {
    const said = await type('--json');
    expect(said).toMatchObject({ code });
    // A refusal is a document on the other stream.
    const texts = lines ? said.out.trimEnd().split('\n') : [said.out || said.error];
    const documents = texts
      .map((text) => JSON.parse(text) as { error?: object })
      .map((document) => document.error ?? document);
    expect(documents.filter((document) => !(key in document))).toEqual([]);
    if (key === 'items') expect(documents).toEqual([{ items: expect.any(Array), nextPageToken: expect.any(String) }]);
  });
});
