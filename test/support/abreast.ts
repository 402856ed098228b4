/** Many at a time, but not all at once. */

/** Runs them with so many under way, in order of the list, and answers in that order. */
export async function abreast<T>(races: readonly (() => Promise<T>)[], atOnce = 25): Promise<T[]> {
  const answers: T[] = [];
  const left = races.entries();
  const runner = async () => {
    for (const [i, race] of left) answers[i] = await race();
  };
  await Promise.all(Array.from({ length: atOnce }, runner));
  return answers;
}
