/** Values of enums as words: `waiting-children` on the command line, `WAITING_CHILDREN` in tables, as the manual has them. */
import type { DescEnum } from '@bufbuild/protobuf';

/** Every value but the unspecified one. */
export function wordsOf(schema: DescEnum): string[] {
  return schema.values.filter(({ number }) => number !== 0).map(({ localName }) => toWord(localName));
}

/** Numbers that a word stands for: one, or with a `*` at its end all that begin like it. Empty if there are none. */
export function numbersOf(schema: DescEnum, word: string): number[] {
  const asked = toWord(word);
  const fits = (name: string) => (asked.endsWith('*') ? name.startsWith(asked.slice(0, -1)) : name === asked);
  return schema.values
    .filter(({ number, localName }) => number !== 0 && fits(toWord(localName)))
    .map(({ number }) => number);
}

/** Empty for the unspecified one; one from a newer server is its number. */
export function nameOf(schema: DescEnum, number: number): string {
  if (number === 0) return '';
  return schema.value[number]?.localName ?? String(number);
}

function toWord(name: string): string {
  return name.toLowerCase().replaceAll('_', '-');
}
