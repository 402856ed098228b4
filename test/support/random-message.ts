/** Random well-formed messages of any type, made from its descriptor. */
import { create, type DescField, type DescMessage, type Message, ScalarType } from '@bufbuild/protobuf';
import { FeatureSet_FieldPresence, isWrapperDesc } from '@bufbuild/protobuf/wkt';
import fc, { type GeneratorValue } from 'fast-check';

/** How many messages may stand inside each other. */
const DEPTH = 3;

const text = fc.oneof(
  { weight: 4, arbitrary: fc.string({ maxLength: 20 }) },
  fc.uuid(),
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.string({ minLength: 30, maxLength: 200 }),
  fc.constantFrom('é', 'naïve'.repeat(20), '\u{1f600}'.repeat(15), '\ud800', 'a\udc00b', '\ude00\ud83d', '\u0000'),
);
const bigint = (min: bigint, max: bigint) =>
  fc.oneof(
    fc.bigInt({ min, max }),
    fc.bigInt({ min: min < -300n ? -300n : min, max: 300n }),
    fc.constantFrom(min, max),
  );
const int32 = fc.oneof(fc.integer(), fc.integer({ min: -1, max: 300 }), fc.constantFrom(-(2 ** 31), 2 ** 31 - 1));
const uint32 = fc.oneof(fc.nat({ max: 2 ** 32 - 1 }), fc.nat({ max: 300 }));
const int64 = bigint(-(2n ** 63n), 2n ** 63n - 1n);
const uint64 = bigint(0n, 2n ** 64n - 1n);

const scalars: Readonly<Record<ScalarType, fc.Arbitrary<unknown>>> = {
  [ScalarType.STRING]: text,
  [ScalarType.BYTES]: fc.uint8Array({ maxLength: 200 }),
  [ScalarType.BOOL]: fc.boolean(),
  [ScalarType.DOUBLE]: fc.oneof(fc.double(), fc.constantFrom(0, -0, Number.NaN)),
  [ScalarType.FLOAT]: fc.oneof(fc.float(), fc.constantFrom(0, -0, Number.NaN)),
  [ScalarType.INT32]: int32,
  [ScalarType.SINT32]: int32,
  [ScalarType.SFIXED32]: int32,
  [ScalarType.UINT32]: uint32,
  [ScalarType.FIXED32]: uint32,
  [ScalarType.INT64]: int64,
  [ScalarType.SINT64]: int64,
  [ScalarType.SFIXED64]: int64,
  [ScalarType.UINT64]: uint64,
  [ScalarType.FIXED64]: uint64,
};
const scalarOf = (type: ScalarType) => scalars[type];
const enumNumber = () => int32;
const json = () => fc.dictionary(text, fc.jsonValue({ depthSize: 'small' }), { maxKeys: 4 });

export function messageOf(schema: DescMessage): fc.Arbitrary<Message> {
  return fc.gen().map((pick) => build(schema, pick, DEPTH));
}

function build(schema: DescMessage, pick: GeneratorValue, depth: number): Message {
  const message = create(schema) as Message & Record<string, unknown>;
  for (const member of schema.members) {
    const field = member.kind === 'oneof' ? oneOf(member.fields, pick) : member;
    const required = field.presence === FeatureSet_FieldPresence.LEGACY_REQUIRED;
    if (!required && pick(fc.nat, { max: 9 }) < (field.message ? 5 : 2)) continue;
    if (depth === 0 && field.message) continue;
    const value = fieldValue(field, pick, depth - 1);
    message[member.localName] = member.kind === 'oneof' ? { case: field.localName, value } : value;
  }
  return message;
}

function fieldValue(field: DescField, pick: GeneratorValue, depth: number): unknown {
  const count = pick(fc.nat, { max: 3 });
  const single = () => singleOf(field, pick, depth);
  if (field.fieldKind === 'list') return Array.from({ length: count }, single);
  if (field.fieldKind !== 'map') return single();
  return Object.fromEntries(Array.from({ length: count }, () => [String(pick(scalarOf, field.mapKey)), single()]));
}

function singleOf(field: DescField, pick: GeneratorValue, depth: number): unknown {
  const { message, enum: values } = field;
  if (values) return values.open ? pick(enumNumber) : oneOf(values.values, pick).number;
  if (!message) return scalarValue(field, pick);
  const [wrapped] = message.fields;
  if (wrapped && isWrapperDesc(message) && field.fieldKind === 'message' && !field.oneof)
    return scalarValue(wrapped, pick);
  if (message.typeName === 'google.protobuf.Struct' && field.parent.typeName !== 'google.protobuf.Value') {
    return pick(json);
  }
  return build(message, pick, depth);
}

function scalarValue(field: DescField, pick: GeneratorValue): unknown {
  const value = pick(scalarOf, field.scalar ?? ScalarType.INT32);
  return 'longAsString' in field && field.longAsString ? String(value) : value;
}

function oneOf<T>(items: readonly T[], pick: GeneratorValue): T {
  const item = items[pick(fc.nat, { max: items.length - 1 })];
  if (item === undefined) throw new Error('nothing to pick from');
  return item;
}
