import { describe, expect, it } from 'vitest';
import { patchedContent, patchedJson } from '../../../src/domain/patched-json.js';

describe('a merge patch', () => {
  // RFC 7396, appendix A, as far as a patch is an object or part of one.
  it.each([
    ['{"a":"b"}', '{"a":"c"}', '{"a":"c"}'],
    ['{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'],
    ['{"a":"b"}', '{"a":null}', '{}'],
    ['{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'],
    ['{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'],
    ['{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'],
    ['{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'],
    ['{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'],
    ['["a","b"]', '["c","d"]', '["c","d"]'],
    ['{"e":null}', '{"a":1}', '{"e":null,"a":1}'],
    ['[1,2]', '{"a":"b","c":null}', '{"a":"b"}'],
    ['{}', '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'],
  ])('makes of %s with %s: %s', (target, patch, result) => {
    expect(patchedJson(target, patch)).toBe(result);
  });

  it('leaves everything else as it stands', () => {
    const target = ` {"id" : 12345678901234567890 , "x":{"n":1.10, "s":"}\\",{"}, "l":[ [1,"]"], {} ], "é":-0 } `;
    const result = patchedJson(target, '{"x":{"s":null},"l":{"k":[null]},"__proto__":{"a":1},"é":[]}');
    expect(result).toBe('{"id":12345678901234567890,"x":{"n":1.10},"l":{"k":[null]},"é":[],"__proto__":{"a":1}}');
    const deep = `{"a":${'['.repeat(200_000)}${']'.repeat(200_000)},"b":1}`;
    expect(patchedJson(deep, '{"b":2}')).toBe(deep.replace('"b":1', '"b":2'));
    expect(patchedJson('{"a":1,"b":2,"\\u0061":3}', '{}')).toBe('{"a":3,"b":2}');
  });

  it('agrees with one on values, whatever they are', () => {
    const values = [
      null,
      true,
      1,
      'a\\"{',
      [],
      [{ a: null }],
      {},
      { a: { b: [1, { c: 'x' }] }, 'k"': { d: null, e: 2 } },
    ];
    for (const target of values) {
      for (const patch of values) {
        for (const shown of [(v: unknown) => JSON.stringify(v), (v: unknown) => JSON.stringify(v, null, 2)]) {
          expect(JSON.parse(patchedJson(shown(target), shown(patch)))).toEqual(merged(target, patch));
        }
      }
    }
  });

  it('is for JSON alone', () => {
    const patch = (type: string, body: string | Uint8Array) => {
      const made = patchedContent(type, typeof body === 'string' ? Buffer.from(body) : body, '{"a":"ü"}');
      return made && Buffer.from(made).toString();
    };
    expect(patch('application/json', '{"b":1}')).toBe('{"b":1,"a":"ü"}');
    expect(patch('application/problem+json; charset=utf-8', 'true')).toBe('{"a":"ü"}');
    expect(patch('text/plain', '{"b":1}')).toBeUndefined();
    expect(patch('application/jsonl', '{"b":1}')).toBeUndefined();
    expect(patch('application/json', '{"b":01}')).toBeUndefined();
    expect(patch('application/json', '')).toBeUndefined();
    expect(patch('application/json', new Uint8Array([0x22, 0xff, 0x22]))).toBeUndefined();
  });
});

/** RFC 7396, section 2. */
function merged(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result: Record<string, unknown> = isObject(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else result[name] = merged(result[name], value);
  }
  return result;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}
