/** Cuts a list of messages into calls that a server takes: bounded in number and, roughly, in bytes. */

export interface CallBounds {
  readonly items: number;
  /** One item may be larger; then it goes alone. */
  readonly bytes: number;
}

/** `countOf`: how many an item counts for. */
export function split<T>(
  items: readonly T[],
  bytesOf: (item: T) => number,
  bounds: CallBounds,
  countOf: (item: T) => number = () => 1,
): T[][] {
  const calls: T[][] = [];
  let call: T[] = [];
  let bytes = 0;
  let length = 0;
  for (const item of items) {
    const size = bytesOf(item);
    const count = countOf(item);
    if (call.length > 0 && (length + count > bounds.items || bytes + size > bounds.bytes)) {
      calls.push(call);
      call = [];
      bytes = 0;
      length = 0;
    }
    call.push(item);
    bytes += size;
    length += count;
  }
  if (call.length > 0) calls.push(call);
  return calls;
}
