/** What the members of the example's flow do. */
import { setTimeout as pause } from 'node:timers/promises';
import type { HandlerContext, Worker } from '../../src/worker/index.js';

const POEM = 'a wheel turns\nin the tailrace\nof the mill';

/** The first of the chain. */
function fetchText(): string {
  return POEM;
}

/** Counts the words of a text, a child per line: called twice, the second time with what the children left. */
function countWords(context: HandlerContext): unknown {
  if (context.children) {
    return context.children.list.reduce((sum, { content }) => sum + Number(content.json()), 0);
  }
  const lines = context.inputs.get('text')?.content.json<string>()?.split('\n') ?? [];
  return context.waitForChildren(
    lines.map((input, line) => ({ type: 'count-line', lane: context.lane, input, name: `${line}` })),
  );
}

function countLine({ input }: HandlerContext): number {
  return String(input.json()).split(' ').length;
}

/** One of three that try the same. Those that lose are canceled, which aborts their signal. */
async function title({ input, signal }: HandlerContext): Promise<string> {
  const { author = '', ms = 0 } = input.json<{ author: string; ms: number }>() ?? {};
  await pause(ms, undefined, { signal });
  return `A Mill, by ${author}`;
}

/** Hands on the one that was first, and leaves a note behind that nobody waits for. */
function best(context: HandlerContext): unknown {
  const first = context.inputs.list.find(({ outcome }) => outcome === 'ok');
  context.spawn({ type: 'note', lane: context.lane, input: `${first?.name} was first` });
  return first?.content.json();
}

function report({ inputs }: HandlerContext): string {
  return `${inputs.get('title')?.content.json()}: ${inputs.get('words')?.content.json()} words`;
}

export function handleAll(worker: Worker): Worker {
  return worker
    .handle('fetch-text', fetchText)
    .handle('count-words', countWords)
    .handle('count-line', countLine)
    .handle('title', title)
    .handle('best', best)
    .handle('report', report)
    .handle('note', ({ input }) => input.json());
}
