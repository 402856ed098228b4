/**
 * Bytes to messages: what `fromBinary` reads, in a fraction of its time (decision 0021).
 *
 * A descriptor is compiled once, into one small function per field. They read what Tailrace's own messages are made of, as any
 * encoder writes it. A message in which there is anything odd is left to the library in whole: fields of kinds that have no
 * function here, a field that comes twice, a value of another wire type, text that is not UTF-8, an end in the middle.
 * So it is also the library that says what is wrong with a message.
 */
import {
  type DescField,
  type DescMessage,
  fromBinary,
  type MessageShape,
  ScalarType,
  toJson,
} from '@bufbuild/protobuf';
import { Edition, StructSchema } from '@bufbuild/protobuf/wkt';
import { decodings } from './decoder-scalars.js';
import { ForwardReader } from './forward-reader.js';
import { isHeldAsMessage } from './held-as.js';
import { odd } from './odd.js';
import { type Fields, Shape } from './shape.js';
import { BIT32, BIT64, LENGTH_DELIMITED, VARINT } from './wire.js';

/** Reads a field, whose tag was read, into the message. */
type TakeField = (from: ForwardReader, message: Fields, wireType: number, context: Context) => void;

interface Context {
  /** What to do with fields that the descriptor does not have. */
  readonly keepsUnknown: boolean;
  depth: number;
}

/** A message in a message, as the library has it. */
const DEEPEST = 100;

const compiled = new WeakMap<DescMessage, MessageDecoder>();

/** Unknown fields are kept, as by `fromBinary`, or dropped. Throws what `fromBinary` throws. */
export function decodeBinary<D extends DescMessage>(
  schema: D,
  bytes: Uint8Array,
  keepsUnknown = true,
): MessageShape<D> {
  return (
    decodeWellFormed(schema, bytes, keepsUnknown) ?? fromBinary(schema, bytes, { readUnknownFields: keepsUnknown })
  );
}

/** Undefined when there is something odd in the message. */
export function decodeWellFormed<D extends DescMessage>(
  schema: D,
  bytes: Uint8Array,
  keepsUnknown = true,
): MessageShape<D> | undefined {
  try {
    const message = decoderOf(schema).message(new ForwardReader(bytes), bytes.length, { keepsUnknown, depth: 0 });
    return message as MessageShape<D>;
  } catch (error) {
    if (error !== odd) throw error;
    return undefined;
  }
}

function decoderOf(schema: DescMessage): MessageDecoder {
  let known = compiled.get(schema);
  if (known === undefined) {
    known = new MessageDecoder(schema);
    compiled.set(schema, known);
  }
  return known;
}

class MessageDecoder {
  readonly #schema: DescMessage;
  readonly #shape: Shape;
  /** By number; made with the first message, since fields may hold the same message again. */
  #fields: (TakeField | undefined)[] | undefined;

  constructor(schema: DescMessage) {
    this.#schema = schema;
    this.#shape = new Shape(schema);
  }

  /** Up to that place, where it must end. */
  message(from: ForwardReader, end: number, context: Context): Fields {
    this.#fields ??= this.#compile();
    if (++context.depth > DEEPEST) throw odd;
    const message = this.#shape.empty();
    while (from.at < end) {
      const tag = from.uint32();
      const take = this.#fields[tag >>> 3];
      if (take) take(from, message, tag & 7, context);
      else if (context.keepsUnknown) throw odd;
      else skip(from, tag);
    }
    if (from.at !== end) throw odd;
    context.depth--;
    return this.#shape.fitted(message);
  }

  #compile(): (TakeField | undefined)[] {
    // Groups, defaults and required fields are the library's.
    if (this.#schema.file.edition !== Edition.EDITION_PROTO3) throw odd;
    const fields: (TakeField | undefined)[] = [];
    for (const field of this.#schema.fields) fields[field.number] = fieldOf(field);
    return fields;
  }
}

function skip(from: ForwardReader, tag: number): void {
  if (tag >>> 3 === 0) throw odd;
  const wireType = tag & 7;
  if (wireType === VARINT) from.int64();
  else if (wireType === LENGTH_DELIMITED) from.skip(from.uint32());
  else if (wireType === BIT64 || wireType === BIT32) from.skip(wireType === BIT64 ? 8 : 4);
  else throw odd;
}

const leave: TakeField = () => {
  throw odd;
};

function fieldOf(field: DescField): TakeField {
  const { localName: name } = field;
  const value = decodingOf(field);
  if (value === undefined) return leave;
  switch (field.fieldKind) {
    case 'map':
      return field.mapKey === ScalarType.STRING ? map(name, value) : leave;
    case 'list':
      return field.message ? messages(name, value) : scalars(name, value);
    case 'message':
      return field.oneof ? memberOnce(field.oneof.localName, name, value) : once(name, value);
    default:
      return field.oneof ? member(field.oneof.localName, name, value) : scalar(name, value);
  }
}

interface Value {
  readonly wireType: number;
  readonly take: (from: ForwardReader, context: Context) => unknown;
}

/** Undefined for what is left to the library. */
function decodingOf(field: DescField): Value | undefined {
  // An enum is the int32 that it is on the wire: those of proto3 are open.
  if (!field.message) return decodings.get(field.scalar ?? ScalarType.INT32);
  if (isHeldAsMessage(field.message, field.parent)) return nested(decoderOf(field.message));
  return field.message.typeName === StructSchema.typeName ? struct : undefined;
}

function nested(decoder: MessageDecoder): Value {
  return {
    wireType: LENGTH_DELIMITED,
    take: (from, context) => {
      const length = from.uint32();
      return decoder.message(from, from.at + length, context);
    },
  };
}

/** Held as JSON. */
const struct: Value = {
  wireType: LENGTH_DELIMITED,
  take: (from) => {
    const bytes = from.raw(from.uint32());
    try {
      return toJson(StructSchema, fromBinary(StructSchema, bytes));
    } catch {
      throw odd;
    }
  },
};

function scalar(name: string, { wireType: expected, take }: Value): TakeField {
  return (from, message, wireType, context) => {
    if (wireType !== expected) throw odd;
    message[name] = take(from, context);
  };
}

function member(oneof: string, name: string, { wireType: expected, take }: Value): TakeField {
  return (from, message, wireType, context) => {
    if (wireType !== expected) throw odd;
    message[oneof] = { case: name, value: take(from, context) };
  };
}

/** Of numbers, one by one or packed. */
function scalars(name: string, { wireType: expected, take }: Value): TakeField {
  return (from, message, wireType, context) => {
    const items = message[name] as unknown[];
    if (wireType === expected) {
      items.push(take(from, context));
      return;
    }
    if (wireType !== LENGTH_DELIMITED) throw odd;
    const length = from.uint32();
    const end = from.at + length;
    while (from.at < end) items.push(take(from, context));
    if (from.at !== end) throw odd;
  };
}

/** A message that comes again is merged, which is left to the library. */
function once(name: string, value: Value): TakeField {
  const put = scalar(name, value);
  return (from, message, wireType, context) => {
    if (message[name] !== undefined) throw odd;
    put(from, message, wireType, context);
  };
}

function memberOnce(oneof: string, name: string, value: Value): TakeField {
  const put = member(oneof, name, value);
  return (from, message, wireType, context) => {
    if ((message[oneof] as { case?: string }).case !== undefined) throw odd;
    put(from, message, wireType, context);
  };
}

function messages(name: string, { wireType: expected, take }: Value): TakeField {
  return (from, message, wireType, context) => {
    if (wireType !== expected) throw odd;
    (message[name] as unknown[]).push(take(from, context));
  };
}

/** Entries with their key before their value, as every encoder writes them. */
function map(name: string, { wireType: expected, take }: Value): TakeField {
  const [keyTag, valueTag] = [(1 << 3) | LENGTH_DELIMITED, (2 << 3) | expected];
  return (from, message, wireType, context) => {
    if (wireType !== LENGTH_DELIMITED) throw odd;
    const length = from.uint32();
    const end = from.at + length;
    if (from.uint32() !== keyTag) throw odd;
    const key = from.text(from.uint32());
    if (from.uint32() !== valueTag) throw odd;
    (message[name] as Fields)[key] = take(from, context);
    if (from.at !== end) throw odd;
  };
}
