/**
 * What can be wrong with each field of a request, by its type alone: everything that protobuf, in binary or in JSON, lets
 * through to the server, and what it does not. Walks the descriptor, so no field is forgotten.
 */
import {
  clone,
  create,
  type DescField,
  type DescMessage,
  type JsonValue,
  type Message,
  ScalarType,
  toBinary,
  toJson,
} from '@bufbuild/protobuf';
import { type ReflectList, type ReflectMap, type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import { DurationSchema, FieldMaskSchema, TimestampSchema, ValueSchema } from '@bufbuild/protobuf/wkt';
import type { SampleRequest } from './sample.js';

export interface BadCase {
  /** As the contract spells it, such as `executions[0].lane`. */
  readonly path: string;
  /** Of the contract, such as `ExecutionSpec.lane`; items and values of lists and maps count as the field. */
  readonly field: string;
  readonly what: string;
  /** Text is JSON. */
  readonly body: Uint8Array | string;
}

/** A field that stands somewhere in a request. */
interface Place {
  readonly root: SampleRequest;
  readonly field: DescField;
  readonly path: string;
  /** The message that the field belongs to, in a copy of the request. */
  readonly owner: (copy: ReflectMessage) => ReflectMessage;
  readonly jsonPath: readonly (string | number)[];
}

/** Changes a copy of the request. */
type Change = (owner: ReflectMessage) => void;

const MARK = 'here-is-what-is-no-utf8';
const DEEP = 'here-is-what-is-deep';
const LEVELS = 20_000;
/** No list of the contract may be longer than a thousand, but for those whose items may occur only once. */
const MANY = 1_001;
const HUGE = 'x'.repeat(70_000);
const LONE_SURROGATE = '\\ud800';

/**
 * Fields that this server does not build yet are sent once, and not looked into. Of a choice between messages one alone
 * can be there: its others must stand in variants of the sample.
 */
export function badCasesOf(root: SampleRequest, isUnbuilt: (field: string) => boolean): BadCase[] {
  const lacking = new Set<string>();
  const looked = new Set<string>();
  const cases = [root.message, ...root.variants].flatMap((message) =>
    casesIn({ ...root, message }, root.method.input, '', (copy) => copy, [], { isUnbuilt, lacking, looked }),
  );
  const missing = [...lacking].filter((field) => !looked.has(field));
  if (missing.length > 0) throw new Error(`no sample of ${root.method.name} has ${missing}, to be looked into`);
  const distinct = new Map(cases.map((one) => [`${one.path} ${one.what} ${one.body.toString()}`, one]));
  return [...distinct.values()];
}

interface Walk {
  readonly isUnbuilt: (field: string) => boolean;
  /** Fields of choices that one of the samples lacks, and those that one has. */
  readonly lacking: Set<string>;
  readonly looked: Set<string>;
}

export function fieldName(field: DescField): string {
  return `${field.parent.name}.${field.name}`;
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
  if (!isThere && field.oneof) {
    lacking.add(fieldName(field));
    return undefined;
  }
  if (!isThere) throw new Error(`the sample of ${root.method.name} lacks ${path}, whose fields must be tried`);
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

function scalarCases(
  place: Place,
  type: ScalarType,
  put: (value: unknown) => Change,
  wrap: (value: JsonValue) => JsonValue,
): BadCase[] {
  const wrong = (...values: JsonValue[]) =>
    values.map((value) => json(place, `JSON ${JSON.stringify(value)}`, JSON.stringify(wrap(value))));
  const typed = (...values: unknown[]) => values.map((value) => binary(place, String(value).slice(0, 40), put(value)));
  switch (type) {
    case ScalarType.STRING:
      return [
        ...wrong(5, true, {}),
        json(place, 'half a surrogate pair', JSON.stringify(wrap(DEEP)).replace(DEEP, LONE_SURROGATE)),
        binary(place, 'NUL', put('a\0b')),
        binary(place, 'huge', put(HUGE)),
        notUtf8(place, put(MARK)),
        ...(isChecked(place.field.name) ? [binary(place, 'garbage', put('gar-bage'))] : []),
      ];
    case ScalarType.BYTES:
      return wrong(5, '%%%');
    case ScalarType.INT32:
      return [...wrong('many', 1.5, 2 ** 33, {}, true), ...typed(-1, 2 ** 31 - 1, -(2 ** 31))];
    case ScalarType.INT64:
      return [...wrong('many', 1.5, '18446744073709551616', {}, true), ...typed(-1n, 2n ** 63n - 1n, -(2n ** 63n))];
    case ScalarType.DOUBLE:
      return [...wrong('many', {}, true), ...typed(Number.NaN, Number.POSITIVE_INFINITY, -1e300, 1e300)];
    case ScalarType.BOOL:
      return wrong('yes', 5, {});
    default:
      throw new Error(`${place.path} has a type that nobody thought of: ${ScalarType[type]}`);
  }
}

/** Ids are UUIDs, but for those that clients choose as they like. */
function isChecked(name: string): boolean {
  return /(^|_)(ids?|token|cursor)$/.test(name) && !/(request|instance|source)_id$/.test(name);
}

function enumCases(place: Place, put: (value: unknown) => Change, wrap: (value: JsonValue) => JsonValue): BadCase[] {
  return [
    ...['NO_SUCH_NAME', 1.5, {}, true].map((value) =>
      json(place, `JSON ${JSON.stringify(value)}`, JSON.stringify(wrap(value))),
    ),
    binary(place, 'unknown number', put(9_999)),
    binary(place, 'negative number', put(-1)),
  ];
}

const INSTANTS = [
  { seconds: -62_135_596_801n },
  { seconds: -1n },
  { seconds: 253_402_300_800n },
  { seconds: 2n ** 63n - 1n },
  { seconds: 1n, nanos: -1 },
  { seconds: 1n, nanos: 2_000_000_000 },
];
const SPANS = [
  { seconds: -1n },
  { seconds: 1n, nanos: -1 },
  { seconds: 2n ** 63n - 1n },
  { seconds: 10n ** 12n },
  { nanos: 2_000_000_000 },
  { nanos: -1 },
];

function messageCases(place: Place, message: DescMessage): BadCase[] {
  const wrong = (...values: JsonValue[]) =>
    values.map((value) => json(place, `JSON ${JSON.stringify(value)}`, JSON.stringify(value)));
  const put = (value: Message) => (owner: ReflectMessage) => owner.set(place.field, reflect(message, value));
  const told = (value: object) => Object.values(value).join(' s ');
  switch (message.typeName) {
    case TimestampSchema.typeName:
      return [
        ...wrong('yesterday', 5, {}),
        ...INSTANTS.map((time) => binary(place, `at ${told(time)}`, put(create(TimestampSchema, time)))),
      ];
    case DurationSchema.typeName:
      return [
        ...wrong('soon', 5, {}),
        ...SPANS.map((span) => binary(place, `of ${told(span)}`, put(create(DurationSchema, span)))),
      ];
    case FieldMaskSchema.typeName:
      return [
        ...wrong(5, {}),
        ...['no_such_path', '', 'a\0b', HUGE].map((path) =>
          binary(place, `path ${path.slice(0, 12)}`, put(create(FieldMaskSchema, { paths: [path] }))),
        ),
      ];
    case ValueSchema.typeName:
      return [
        json(place, 'deep', '['.repeat(LEVELS) + ']'.repeat(LEVELS)),
        json(place, 'half a surrogate pair', `"${LONE_SURROGATE}"`),
        binary(place, 'of no kind', put(create(ValueSchema))),
        binary(place, 'NaN', put(create(ValueSchema, { kind: { case: 'numberValue', value: Number.NaN } }))),
      ];
    default:
      return wrong(5, 'text', []);
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

function binary(place: Place, what: string, change: Change): BadCase {
  const { method, message } = place.root;
  const copy = clone(method.input, message);
  change(place.owner(reflect(method.input, copy)));
  return { path: place.path, field: fieldName(place.field), what, body: toBinary(method.input, copy) };
}

function notUtf8(place: Place, change: Change): BadCase {
  const made = binary(place, 'no UTF-8', change);
  const bytes = Buffer.from(made.body as Uint8Array);
  bytes[bytes.indexOf(MARK)] = 0xff;
  return { ...made, body: bytes };
}

/** `value` stands in the JSON as it is, so it may be what JSON.stringify would not write. */
function json(place: Place, what: string, value: string): BadCase {
  const { method, message } = place.root;
  const copy = toJson(method.input, message) as Record<string, JsonValue>;
  const steps = [...place.jsonPath];
  const last = steps.pop() ?? '';
  const owner = steps.reduce<Record<string, JsonValue>>((at, step) => {
    at[step] ??= {};
    return at[step] as Record<string, JsonValue>;
  }, copy);
  for (const sibling of place.field.oneof?.fields ?? []) delete owner[sibling.jsonName];
  owner[last] = DEEP;
  const body = JSON.stringify(copy).replace(`"${DEEP}"`, () => value);
  return { path: place.path, field: fieldName(place.field), what, body };
}
