/**
 * The rules of the house, held against the sources: who may import what, how long a file may be, which words are
 * not used. The imports are also in biome.json, per folder: there for the editor, here for certain.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { codeOf, importsOf, type SourceFile, sourceFiles } from '../support/source.js';

interface Rule {
  /** Folders of src, `gen`, or single files without their ending. A folder may always import itself. */
  readonly folders: readonly string[];
  /** Packages, beside the modules of Node itself, which all but the domain may import. */
  readonly packages: readonly string[];
}

const GENERATED = ['@bufbuild/protobuf', '@connectrpc/connect'];
const LIBRARY = [...GENERATED, '@connectrpc/connect-node', '@grpc/grpc-js'];
const AROUND_THE_ENGINE = ['repository', 'domain', 'runtime'];

const RULES: Readonly<Record<string, Rule>> = {
  config: { folders: [], packages: ['zod'] },
  domain: { folders: [], packages: [] },
  runtime: { folders: [], packages: [] },
  protobuf: { folders: [], packages: ['@bufbuild/protobuf'] },
  repository: { folders: ['domain', 'runtime'], packages: ['pg'] },
  embedded: { folders: ['domain', 'runtime'], packages: ['pg'] },
  log: { folders: AROUND_THE_ENGINE, packages: [] },
  frames: { folders: AROUND_THE_ENGINE, packages: [] },
  loops: { folders: ['log', ...AROUND_THE_ENGINE], packages: [] },
  batching: { folders: AROUND_THE_ENGINE, packages: [] },
  guards: { folders: AROUND_THE_ENGINE, packages: [] },
  dispatch: { folders: AROUND_THE_ENGINE, packages: [] },
  services: {
    folders: ['gen', 'log', 'frames', 'batching', 'dispatch', ...AROUND_THE_ENGINE],
    packages: ['zod', 'pino', ...GENERATED],
  },
  tracing: {
    folders: ['config', 'runtime'],
    packages: [
      ...['@bufbuild/protobuf', 'pino', '@opentelemetry/api', '@opentelemetry/resources'],
      ...['@opentelemetry/sdk-trace', '@opentelemetry/exporter-trace-otlp-proto'],
    ],
  },
  metrics: {
    folders: ['gen', 'server', 'log', 'frames', 'loops', 'batching', 'dispatch', ...AROUND_THE_ENGINE],
    packages: ['prom-client', 'pino'],
  },
  worker: { folders: ['gen', 'client', 'runtime'], packages: [...LIBRARY, '@opentelemetry/api'] },
  client: { folders: ['gen', 'protobuf', 'runtime'], packages: [...LIBRARY, '@opentelemetry/api'] },
  server: { folders: ['gen', 'services', 'tracing', 'protobuf', 'domain', 'runtime'], packages: ['pino', ...LIBRARY] },
  cli: { folders: ['gen', 'client', 'domain', 'runtime', 'config'], packages: ['commander', 'cli-table3', ...LIBRARY] },
};

/** The pieces that no folder holds. main, direct and serve compose, so they may import anything. */
const SINGLE: Readonly<Record<string, Rule>> = {
  'src/engine': { folders: ['dispatch', 'log', 'frames', 'loops', 'batching', ...AROUND_THE_ENGINE], packages: [] },
  'src/config': { folders: ['config', 'domain', 'repository/statement'], packages: ['zod'] },
  'src/doctor': { folders: ['cli/host', 'config', 'setup', 'guards', 'repository', 'domain'], packages: [] },
  'src/setup': { folders: ['config', 'guards'], packages: [] },
  'src/bootstrap': {
    folders: ['repository/database', 'repository/tokens', 'services/authentication', 'domain'],
    packages: [],
  },
  'src/server': {
    folders: ['server', 'services', 'domain', 'runtime', 'gen', 'config'],
    packages: ['pino', ...LIBRARY],
  },
};

const src = sourceFiles('src');
const everything = [...src, ...sourceFiles('migrations', '.sql'), ...sourceFiles('proto', '.proto')];

describe('imports', () => {
  it('are all seen, however they are written', () => {
    const text = `import a from 'a';\nimport type {\n  b,\n} from "./b.js";\nexport * from '../c/d.js';\nimport 'e';
      const f = await import('f');\nexport const from = 'g';\n// import h from 'h';\n`;
    expect(importsOf({ path: 'src/x/y.ts', text, lines: 9 })).toEqual(['a', 'src/x/b', 'src/c/d', 'e', 'f']);
  });

  it('follow the table, folder by folder', () => {
    const broken = src.flatMap((file) =>
      importsOf(file)
        .filter((target) => !allowed(file.path, target))
        .map((target) => `${file.path} imports ${target}`),
    );
    expect(broken).toEqual([]);
  });

  it('enter the repository through its doors', () => {
    const doors = /^src\/repository\/([a-z-]+\/)?index$|^src\/repository\/(database|statement)$/;
    const around = src
      .filter((file) => !file.path.startsWith('src/repository/'))
      .flatMap((file) =>
        importsOf(file)
          .filter((target) => target.startsWith('src/repository/') && !doors.test(target))
          .map((target) => `${file.path} imports ${target}`),
      );
    expect(around).toEqual([]);
  });

  it('have a rule for every folder, here and in the linter', () => {
    const folders = new Set(
      src.map((file) => file.path.split('/')).flatMap(([, folder, ...rest]) => (rest.length > 0 ? [folder] : [])),
    );
    expect([...folders].filter((folder) => !(String(folder) in RULES))).toEqual([]);
    const { overrides } = JSON.parse(readFileSync('biome.json', 'utf8')) as { overrides: { includes: string[] }[] };
    const linted = overrides.flatMap(({ includes }) => includes);
    expect(Object.keys(RULES).filter((folder) => !linted.includes(`src/${folder}/**`))).toEqual([]);
  });
});

describe('what belongs to one place', () => {
  it.each([
    ['the environment', /\bprocess\.env\b/, /^src\/config(\/client)?\.ts$/],
    ['the clock', /\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\b|\bprocess\.hrtime\b/, /^src\/runtime\//],
    ['timers', /\bset(Timeout|Interval)\(|node:timers/, /^src\/runtime\//],
    ['randomness without a source', /\bMath\.random\b/, /^src\/runtime\//],
    ['the name of the schema', /\{schema\}/, /^src\/repository\//],
  ])('%s stays there', (_, pattern, owner) => {
    const outside = src.filter((file) => pattern.test(codeOf(file)) && !owner.test(file.path));
    expect(outside.map((file) => file.path)).toEqual([]);
  });
});

describe('files', () => {
  it('are short: half of them at most 120 lines, none over 500', () => {
    const lengths = src.map((file) => file.lines).sort((a, b) => a - b);
    expect(lengths[Math.floor(lengths.length / 2)]).toBeLessThanOrEqual(120);
    expect(src.filter((file) => file.lines > 500).map((file) => file.path)).toEqual([]);
  });

  it('are named for what is in them, in kebab-case', () => {
    const vague = /(^|[/-])(utils?|helpers?|commons?|types?|manager|misc|shared)([/.-]|$)/;
    const named = src.map((file) => file.path);
    expect(named.filter((path) => vague.test(path) || !/^[a-z0-9/-]+(\.d)?\.ts$/.test(path))).toEqual([]);
  });

  it('open by saying what they promise', () => {
    const opensWith = (file: SourceFile) => /^(#!.*\n)?(\/\*\*|\/\/|--)/.test(file.text);
    const silent = everything.filter((file) => !file.path.endsWith('/index.ts') && !opensWith(file));
    expect(silent.map((file) => file.path)).toEqual([]);
  });
});

describe('words', () => {
  it.each([
    ['unfinished work', /\b(TODO|FIXME|XXX|HACK)\b/],
    ['other names for an execution', /\b(jobs?|tasks?)\b/i],
    ['other names for a claim', /\bde-?queue/i],
    ['an abbreviation of dead letter', /\bDLQ\b/i],
    ['British spelling', /\b(cancelled|cancelling|behaviour|colour)\b/i],
    ["a path of somebody's machine", /\/(home|Users|work)\/\w/],
  ])('do not include %s', (_, pattern) => {
    const found = everything.flatMap((file) => {
      const word = pattern.exec(file.text);
      return word ? [`${file.path}: ${word[0]}`] : [];
    });
    expect(found).toEqual([]);
  });
});

function allowed(path: string, target: string): boolean {
  const single = path.replace(/\.ts$/, '');
  if (single === 'src/main' || single === 'src/serve' || single === 'src/direct') return true;
  const folder = path.split('/')[1] ?? '';
  const rule = SINGLE[single] ?? RULES[folder];
  if (!rule) return false;
  if (target.startsWith('node:')) return folder !== 'domain';
  if (target.startsWith('gen/')) return rule.folders.includes('gen');
  if (!target.startsWith('src/')) return rule.packages.some((name) => target === name || target.startsWith(`${name}/`));
  const inside = target.slice('src/'.length);
  return [...rule.folders, ...(single in SINGLE ? [] : [folder])].some(
    (name) => inside === name || inside.startsWith(`${name}/`),
  );
}
