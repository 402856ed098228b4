/**
 * Many contents as one binary parameter: an array of bytea would be escaped to hex, twice the size and slow to parse.
 * SQL cuts them out again by position and length.
 */

export interface Content {
  readonly type: string;
  readonly body: Buffer;
}

export interface PackedContents {
  readonly types: (string | null)[];
  readonly positions: (number | null)[];
  readonly lengths: (number | null)[];
  readonly bytes: Buffer;
}

export function packContents(contents: readonly (Content | null)[]): PackedContents {
  const types: (string | null)[] = [];
  const positions: (number | null)[] = [];
  const lengths: (number | null)[] = [];
  const parts: Buffer[] = [];
  let position = 0;
  for (const content of contents) {
    types.push(content?.type ?? null);
    positions.push(content === null ? null : position);
    lengths.push(content?.body.length ?? null);
    if (content === null) continue;
    parts.push(content.body);
    position += content.body.length;
  }
  return { types, positions, lengths, bytes: Buffer.concat(parts, position) };
}

/** A Postgres array literal, for arrays inside arrays. */
export function arrayLiteral(items: readonly string[]): string {
  return `{${items.map((item) => `"${item.replace(/[\\"]/g, '\\$&')}"`).join(',')}}`;
}
