/** A Markdown table with its columns padded, so that it reads well in a terminal too. */

/** Names stand left in the first column, figures right in the others. */
export function table(heads: readonly string[], lines: readonly (readonly string[])[]): string {
  const widths = heads.map((head, i) => Math.max(head.length, 2, ...lines.map((line) => line[i]?.length ?? 0)));
  const padded = (cells: readonly string[]) =>
    cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)));
  const rule = widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
  return [padded(heads), rule, ...lines.map(padded)].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
