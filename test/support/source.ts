/** Reads this project's own sources, for the tests that hold them to the rules of the house. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

export interface SourceFile {
  /** From the root of the project, such as `src/domain/errors.ts`. */
  readonly path: string;
  readonly text: string;
  readonly lines: number;
}

export function sourceFiles(folder: string, ending = '.ts'): SourceFile[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .sort()
    .map((name) => {
      const path = join(folder, name);
      const text = readFileSync(path, 'utf8');
      return { path, text, lines: text.split('\n').length - 1 };
    });
}

/** What a file imports: a path from the root without its ending, a package, or `node:…`. */
export function importsOf({ path, text }: SourceFile): string[] {
  const named = [...text.matchAll(/^(?:import|export)\s(?:[^'";]*\bfrom\s)?\s*['"]([^'"]+)['"]/gm)];
  const dynamic = [...text.matchAll(/\bimport\(\s*['"]([^'"]+)['"]/g)];
  return [...named, ...dynamic].map(([, target = '']) =>
    target.startsWith('.') ? normalize(join(dirname(path), target)).replace(/\.js$/, '') : target,
  );
}

/** The text without comments, roughly: for rules about code, not about prose. */
export function codeOf({ text }: SourceFile): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1');
}
