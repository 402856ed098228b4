/** What a Tailrace server tells of its own heap, at the port of its API. */

/** Settings under which it does. */
export const TELLING = { TAILRACE_METRICS_ON_API_PORT: 'true' };

/** Bytes used in all its spaces. */
export async function heapBytes(url: string): Promise<number> {
  const answer = await fetch(new URL('/metrics', url));
  if (!answer.ok) throw new Error(`the server's metrics were answered with ${answer.status}`);
  const spaces = [...(await answer.text()).matchAll(/^v8js_memory_heap_used_bytes\{[^}]*\} (\S+)$/gm)];
  if (spaces.length === 0) throw new Error("the server's metrics tell nothing of its heap");
  return spaces.reduce((sum, [, bytes]) => sum + Number(bytes), 0);
}
