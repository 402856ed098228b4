/** The word somebody probably meant: for "did you mean", where a misspelt name must not be ignored in silence. */

/** Undefined when nothing is near: two letters may differ, in a long word a third of them. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const ranked = candidates
    .map((candidate) => ({ candidate, distance: editDistance(word, candidate) }))
    .sort((a, b) => a.distance - b.distance)[0];
  return ranked && ranked.distance <= Math.max(2, word.length / 3) ? ranked.candidate : undefined;
}

/** Levenshtein: insertions, deletions and substitutions between two words. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [row, letter] of [...a].entries()) {
    const present = [row + 1];
    for (const [column, other] of [...b].entries()) {
      const substituted = (previous[column] ?? 0) + (letter === other ? 0 : 1);
      present.push(Math.min(substituted, (previous[column + 1] ?? 0) + 1, (present[column] ?? 0) + 1));
    }
    previous = present;
  }
  return previous[b.length] ?? 0;
}
