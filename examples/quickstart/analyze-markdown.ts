/**
 * Counts what is in a Markdown document, line by line: good enough for statistics, no full parser. Code blocks and code
 * spans count for nothing. Links are inline links and images, reference definitions, autolinks, href and src.
 */
import { access } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';

/** What one execution results in. */
export interface Analysis {
  /** Relative to the folder. */
  readonly file: string;
  readonly words: number;
  readonly headings: number;
  readonly links: number;
  /** Relative links that lead nowhere, each once, the first hundred. */
  readonly broken: readonly string[];
  /** Time to read and analyze it. */
  readonly ms: number;
  /** Name of the worker that did it. */
  readonly worker: string;
}

const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const HEADING = /^ {0,3}#{1,6}(\s|$)/;
const UNDERLINE = /^ {0,3}(=+|-{2,})\s*$/;
const WORD = /[\p{L}\p{N}]+(?:['’-][\p{L}\p{N}]+)*/gu;
const LINKS = [
  /\]\(\s*<?([^\s)>]+)>?[^)]*\)/g,
  /^ {0,3}\[[^\]]+\]:\s*<?([^\s>]+)/g,
  /<(https?:[^\s>]+)>/g,
  /\b(?:href|src)\s*=\s*["']([^"']+)["']/gi,
];

export function count(text: string): { words: number; headings: number; links: string[] } {
  const links: string[] = [];
  let words = 0;
  let headings = 0;
  let above = '';
  for (const line of proseOf(text)) {
    for (const pattern of LINKS) for (const [, target] of line.matchAll(pattern)) if (target) links.push(target);
    if (HEADING.test(line) || (UNDERLINE.test(line) && /\w/.test(above))) headings++;
    words += (line.replace(/\]\([^)]*\)|<[^>]*>/g, ' ').match(WORD) ?? []).length;
    above = line;
  }
  return { words, headings, links };
}

/** The lines outside code blocks, without their code spans. */
function* proseOf(text: string): Generator<string> {
  let fence = '';
  for (const line of text.split(/\r?\n/)) {
    const [, mark = ''] = FENCE.exec(line) ?? [];
    if (fence === '' && mark === '') yield line.replace(/`[^`]*`/g, ' ');
    else if (fence === '') fence = mark;
    else if (mark.startsWith(fence)) fence = '';
  }
}

/** The relative links of a file that lead nowhere, each once. Links that leave the folder are not looked at. */
export async function brokenLinks(folder: string, file: string, links: readonly string[]): Promise<string[]> {
  const broken: string[] = [];
  for (const link of new Set(links)) {
    const target = relativePath(link);
    if (target === undefined) continue;
    const path = join(folder, dirname(file), target);
    if (path.startsWith(folder + sep) && !(await exists(path))) broken.push(link);
  }
  return broken;
}

/** Undefined for addresses, anchors, absolute paths, and what no path can be. */
function relativePath(link: string): string | undefined {
  const [path = ''] = link.split(/[?#]/);
  if (path === '' || /^(\/|[a-z][a-z0-9+.-]*:)/i.test(path)) return undefined;
  try {
    const decoded = decodeURIComponent(path);
    return decoded.includes('\0') ? undefined : decoded;
  } catch {
    return path;
  }
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
