/**
 * A JSON merge patch (RFC 7396) applied to JSON text, as text: what the patch does not name keeps its every character, so
 * that numbers no double can hold, and texts of any depth, come through as they were.
 */

const JSON_TYPE = /^[^;]*[/+]json\s*(;|$)/i;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const bytes = new TextEncoder();

/** The patched content; undefined when it is not JSON, by its media type or by what it holds. `patch`: a JSON object. */
export function patchedContent(type: string, body: Uint8Array, patch: string): Uint8Array | undefined {
  const target = JSON_TYPE.test(type) ? jsonIn(body) : undefined;
  return target === undefined ? undefined : bytes.encode(patchedJson(target, patch));
}

/** Both are valid JSON, and the patch is not too deep for the stack. What is no object becomes one. */
export function patchedJson(target: string | undefined, patch: string): string {
  const changes = membersOf(patch);
  if (changes === undefined) return patch.trim();
  const members = (target === undefined ? undefined : membersOf(target)) ?? new Map<string, string>();
  for (const [name, value] of changes) {
    if (value === 'null') members.delete(name);
    else members.set(name, patchedJson(members.get(name), value));
  }
  return `{${[...members].map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(',')}}`;
}

function jsonIn(body: Uint8Array): string | undefined {
  try {
    const text = utf8.decode(body);
    JSON.parse(text);
    return text;
  } catch {
    return undefined;
  }
}

const SPACE = /[ \t\n\r]*/y;
const STRING = /"[^"\\]*(?:\\.[^"\\]*)*"/y;
const PLAIN = /[^,\]}\s]+/y;

/** Names with the text of their values; of a name that occurs twice the last one counts. Undefined for what is no object. */
function membersOf(text: string): Map<string, string> | undefined {
  let at = ended(SPACE, text, 0);
  if (text[at] !== '{') return undefined;
  const members = new Map<string, string>();
  for (at = ended(SPACE, text, at + 1); text[at] !== '}'; at = ended(SPACE, text, at)) {
    if (text[at] === ',') at = ended(SPACE, text, at + 1);
    const named = ended(STRING, text, at);
    const from = ended(SPACE, text, ended(SPACE, text, named) + 1);
    const to = endOfValue(text, from);
    members.set(JSON.parse(text.slice(at, named)) as string, text.slice(from, to));
    at = to;
  }
  return members;
}

/** Without recursion: a value may be nested deeper than the stack. */
function endOfValue(text: string, from: number): number {
  let depth = 0;
  let at = from;
  do {
    at = ended(SPACE, text, at);
    const sign = text[at];
    if (sign === '{' || sign === '[') depth++;
    if (sign === '}' || sign === ']') depth--;
    if (sign === '"') at = ended(STRING, text, at);
    else if (sign !== undefined && '{}[],:'.includes(sign)) at++;
    else at = ended(PLAIN, text, at);
  } while (depth > 0);
  return at;
}

/** Where the match that begins here ends; here, when nothing matches. */
function ended(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : at;
}
