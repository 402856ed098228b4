/**
 * What can be wrong with each field of a request, by its type alone: everything that protobuf, in binary or in JSON, lets
 * through to the server, and what it does not. Walks the descriptor, so no field is forgotten.
 */
import { create, type DescField, type DescMessage, type JsonValue, ScalarType } from '@bufbuild/protobuf';
import { type ReflectList, type ReflectMap, type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import {
  type BadCase,
  binary,
  type Change,
  enumCases,
  fieldName,
  HUGE,
  json,
  LONE_SURROGATE,
  MANY,
  MARK,
  messageCases,
  notUtf8,
  type Place,
  scalarCases,
} from './bad-case.js';
import type { SampleRequest } from './sample.js';

export type { BadCase };

/**
 * Fields that this server does not build yet are sent once, and not looked into. Of messages that exclude each other one
 * alone can be there: the others must stand in variants of the sample.
 */
export function badCasesOf(root: SampleRequest, isUnbuilt: (field: string) => boolean): BadCase[] {
  const lacking = new Set<string>();
  const looked = new Set<string>();
  const cases = [root.message, ...root.variants].flatMap((message) =>
    casesIn({ ...root, message }, root.method.input, '', (copy) => copy, [], { isUnbuilt, lacking, looked }),
  );
  const missing = [...lacking].filter((field) => !looked.has(field));
  if (missing.length > 0) throw new Error(`no sample of ${root.method.name} has ${missing}, to be looked into`);
  // What stands at one place in several samples is tried in one of them.
  return [...new Map(cases.map((one) => [`${one.path} ${one.what}`, one])).values()];
}

interface Walk {
  readonly isUnbuilt: (field: string) => boolean;
  /** Fields that one of the samples lacks, and those that one has. */
  readonly lacking: Set<string>;
  readonly looked: Set<string>;
}

function casesIn(
  root: SampleRequest,
  message: DescMessage,
  path: string,
  owner: Place['owner'],
  jsonPath: Place['jsonPath'],
  walk: Walk,
): BadCase[] {
  return message.fields.flatMap((field) => {
    const place: Place = {
      ...{ root, field, owner },
      path: path === '' ? field.name : `${path}.${field.name}`,
      jsonPath: [...jsonPath, field.jsonName],
    };
    if (walk.isUnbuilt(fieldName(field))) return [binary(place, 'sent', (to) => setSomething(to, field))];
    const inside = nested(place, walk);
    if (inside === undefined) return casesOf(place);
    return [...casesOf(place), ...casesIn(root, inside.message, inside.path, inside.owner, inside.jsonPath, walk)];
  });
}

/** The message in this field, or the first of its list or map, to look into; its sample must have one. */
function nested({ root, field, path, owner, jsonPath }: Place, { lacking, looked }: Walk) {
  const inList = field.fieldKind === 'list' && field.listKind === 'message';
  const inMap = field.fieldKind === 'map' && field.mapKind === 'message';
  if (!inList && !inMap && field.fieldKind !== 'message') return undefined;
  const message = field.message as DescMessage;
  if (message.typeName.startsWith('google.')) return undefined;
  const here = owner(reflect(root.method.input, root.message));
  const key = inList ? 0 : inMap ? [...(here.get(field) as ReflectMap).keys()][0] : undefined;
  const isThere = inList ? (here.get(field) as ReflectList).size > 0 : inMap ? key !== undefined : here.isSet(field);
  if (!isThere) {
    lacking.add(fieldName(field));
    return undefined;
  }
  looked.add(fieldName(field));
  return {
    message,
    path: key === undefined ? path : `${path}[${JSON.stringify(key)}]`,
    jsonPath: key === undefined ? jsonPath : [...jsonPath, key as string | number],
    owner: (copy: ReflectMessage) => {
      const value = owner(copy).get(field);
      return (key === undefined ? value : (value as ReflectList | ReflectMap).get(key as never)) as ReflectMessage;
    },
  };
}

function casesOf(place: Place): BadCase[] {
  const { field } = place;
  switch (field.fieldKind) {
    case 'scalar':
      return scalarCases(
        place,
        field.scalar,
        (value) => (owner) => owner.set(field, value),
        (value) => value,
      );
    case 'enum':
      return enumCases(
        place,
        (value) => (owner) => owner.set(field, value),
        (value) => value,
      );
    case 'message':
      return messageCases(place, field.message);
    case 'list':
      return listCases(place);
    case 'map':
      return mapCases(place);
  }
}

function listCases(place: Place): BadCase[] {
  const { field, path } = place;
  if (field.fieldKind !== 'list') return [];
  const item = { ...place, path: `${path}[0]` };
  const put = (value: unknown) => (owner: ReflectMessage) => {
    const list = owner.get(field) as ReflectList;
    list.clear();
    list.add(value);
  };
  const many = binary(place, 'too many', (owner) => {
    const list = owner.get(field) as ReflectList;
    const first = list.get(0) ?? something(field);
    while (list.size < MANY) list.add(typeof first === 'string' ? `${first}${list.size}` : first);
  });
  const wrong = [5, 'text', {}, [null]].map((value) =>
    json(place, `JSON ${JSON.stringify(value)}`, JSON.stringify(value)),
  );
  const inList = (value: JsonValue): JsonValue => [value];
  switch (field.listKind) {
    case 'scalar':
      return [...wrong, many, ...scalarCases(item, field.scalar, put, inList)];
    case 'enum':
      return [...wrong, ...enumCases(item, put, inList)];
    case 'message':
      return [...wrong, many];
  }
}

function mapCases(place: Place): BadCase[] {
  const { field } = place;
  if (field.fieldKind !== 'map') return [];
  const put = (entries: readonly (readonly [string, unknown])[]) => (owner: ReflectMessage) => {
    const map = owner.get(field) as ReflectMap;
    for (const [key, value] of entries) map.set(key, value);
  };
  const text = (what: string, value: string) => json(place, `JSON ${what}`, value);
  const good = field.mapKind === 'message' ? reflect(field.message, create(field.message)) : goodValue(field.scalar);
  return [
    ...['5', '"text"', '[]', '{"a": null}'].map((value) => text(value, value)),
    text('half a surrogate pair in a key', `{"${LONE_SURROGATE}": ${field.mapKind === 'message' ? '{}' : '"1"'}}`),
    binary(place, 'too many', put(Array.from({ length: MANY }, (_, i) => [`key${i}`, good]))),
    binary(place, 'an empty key', put([['', good]])),
    binary(place, 'a huge key', put([[HUGE, good]])),
    binary(place, 'NUL in a key', put([['a\0', good]])),
    notUtf8(place, put([[MARK, good]])),
    ...mapValueCases(place, put, text),
  ];
}

function goodValue(scalar: ScalarType | undefined): unknown {
  return scalar === ScalarType.INT64 ? 1n : 'a';
}

function mapValueCases(
  place: Place,
  put: (entries: readonly (readonly [string, unknown])[]) => Change,
  text: (what: string, value: string) => BadCase,
): BadCase[] {
  const { field } = place;
  if (field.fieldKind !== 'map' || field.mapKind === 'message') return [text('{"a": 5}', '{"a": 5}')];
  if (field.scalar === ScalarType.INT64) {
    return [
      ...['{"a": "many"}', '{"a": 1.5}', '{"a": true}'].map((value) => text(value, value)),
      ...[-1n, 2n ** 63n - 1n, -(2n ** 63n)].map((value) => binary(place, `value ${value}`, put([['a', value]]))),
    ];
  }
  return [
    text('{"a": 5}', '{"a": 5}'),
    text('half a surrogate pair in a value', `{"a": "${LONE_SURROGATE}"}`),
    binary(place, 'a huge value', put([['a', HUGE]])),
    binary(place, 'NUL in a value', put([['a', 'a\0']])),
    notUtf8(place, put([['a', MARK]])),
  ];
}

/** A valid value, for a field that is not built. */
function setSomething(owner: ReflectMessage, field: DescField): void {
  if (field.fieldKind === 'list') (owner.get(field) as ReflectList).add(something(field));
  else if (field.fieldKind === 'map') (owner.get(field) as ReflectMap).set('a', goodValue(field.scalar));
  else owner.set(field, something(field));
}

function something(field: DescField): unknown {
  if (field.message) return reflect(field.message, create(field.message));
  if (field.enum) return 1;
  const scalar = 'scalar' in field ? field.scalar : undefined;
  if (scalar === ScalarType.STRING) return '018f0000-0000-7000-8000-000000000000';
  if (scalar === ScalarType.BOOL) return true;
  return scalar === ScalarType.INT64 ? 1n : 1;
}
