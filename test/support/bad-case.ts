/** What can be wrong with one value of a request by its type, and how it gets into a copy of the request. */
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
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
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
export interface Place {
  readonly root: SampleRequest;
  readonly field: DescField;
  readonly path: string;
  /** The message that the field belongs to, in a copy of the request. */
  readonly owner: (copy: ReflectMessage) => ReflectMessage;
  readonly jsonPath: readonly (string | number)[];
}

/** Changes a copy of the request. */
export type Change = (owner: ReflectMessage) => void;

export const MARK = 'here-is-what-is-no-utf8';
const DEEP = 'here-is-what-is-deep';
const LEVELS = 20_000;
/** No list of the contract may be longer than a thousand, but for those whose items may occur only once. */
export const MANY = 1_001;
export const HUGE = 'x'.repeat(70_000);
export const LONE_SURROGATE = '\\ud800';

export function fieldName(field: DescField): string {
  return `${field.parent.name}.${field.name}`;
}

export function scalarCases(
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

export function enumCases(
  place: Place,
  put: (value: unknown) => Change,
  wrap: (value: JsonValue) => JsonValue,
): BadCase[] {
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

export function messageCases(place: Place, message: DescMessage): BadCase[] {
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

export function binary(place: Place, what: string, change: Change): BadCase {
  const { method, message } = place.root;
  const copy = clone(method.input, message);
  change(place.owner(reflect(method.input, copy)));
  return { path: place.path, field: fieldName(place.field), what, body: toBinary(method.input, copy) };
}

export function notUtf8(place: Place, change: Change): BadCase {
  const made = binary(place, 'no UTF-8', change);
  const bytes = Buffer.from(made.body as Uint8Array);
  bytes[bytes.indexOf(MARK)] = 0xff;
  return { ...made, body: bytes };
}

/** `value` stands in the JSON as it is, so it may be what JSON.stringify would not write. */
export function json(place: Place, what: string, value: string): BadCase {
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
