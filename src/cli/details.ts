/**
 * One message for people: every field that is set, under its name in the manual, whatever message it is. A field that a
 * later version adds shows up by itself.
 */
import {
  type DescField,
  type DescMessage,
  isMessage,
  type Message,
  type MessageShape,
  ScalarType,
  toJson,
} from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import {
  type Duration,
  DurationSchema,
  FieldMaskSchema,
  StructSchema,
  type Timestamp,
  TimestampSchema,
  ValueSchema,
} from '@bufbuild/protobuf/wkt';
import { type Payload, PayloadSchema } from '../../gen/tailrace/v1/payload_pb.js';
import { nameOf } from './enum-words.js';
import { type Output, plain, plainLines } from './output.js';
import { colored } from './table.js';

interface Line {
  readonly depth: number;
  readonly label: string;
  /** More than one: a block below the label. */
  readonly value: readonly string[];
}

export function detailsOf<D extends DescMessage>(schema: D, message: MessageShape<D>, output: Output): string {
  const lines = linesOf(reflect(schema, message), 0, output);
  const width = Math.max(
    0,
    ...lines.map(({ depth, label, value }) => (value.length === 1 ? depth * 2 + label.length : 0)),
  );
  return lines
    .flatMap(({ depth, label, value }) => {
      const indent = '  '.repeat(depth);
      const name = output.style('bold', label);
      if (value.length === 1) return [`${indent}${name}${' '.repeat(width - depth * 2 - label.length + 2)}${value[0]}`];
      return [`${indent}${name}`, ...value.map((line) => `${indent}  ${line}`)];
    })
    .join('\n');
}

function linesOf(message: ReflectMessage, depth: number, output: Output): Line[] {
  return message.fields
    .filter((field) => message.isSet(field))
    .flatMap((field) => fieldLines(field, message, depth, output));
}

function fieldLines(field: DescField, message: ReflectMessage, depth: number, output: Output): Line[] {
  const label = field.name.replaceAll('_', ' ');
  if (field.fieldKind === 'list') {
    const items = [...message.get(field)];
    if (field.listKind === 'message') {
      return items.flatMap((item, index) =>
        nested(`${label} ${index + 1}`, item as ReflectMessage, depth, output, 'none'),
      );
    }
    const shown = items.map((item) => (field.listKind === 'enum' ? nameOf(field.enum, Number(item)) : scalar(item)));
    return [{ depth, label, value: [shown.join(', ')] }];
  }
  if (field.fieldKind === 'map') {
    const entries = [...message.get(field)].sort(([a], [b]) => String(a).localeCompare(String(b)));
    if (field.mapKind === 'message') {
      return entries.flatMap(([key, item]) =>
        nested(`${label} ${scalar(key)}`, item as ReflectMessage, depth, output, 'none'),
      );
    }
    return [{ depth, label, value: [entries.map(([key, item]) => `${scalar(key)}=${scalar(item)}`).join(', ')] }];
  }
  // An alternative with nothing in it says that it is the one.
  if (field.fieldKind === 'message')
    return nested(label, message.get(field), depth, output, field.oneof ? 'yes' : 'none');
  const value = message.get(field);
  if (field.fieldKind === 'enum')
    return [{ depth, label, value: [colored(nameOf(field.enum, Number(value)), output)] }];
  if (field.scalar === ScalarType.BYTES) return [{ depth, label, value: [`${(value as Uint8Array).length} bytes`] }];
  return [{ depth, label, value: [scalar(value)] }];
}

function nested(label: string, item: ReflectMessage, depth: number, output: Output, empty: string): Line[] {
  const value = wellKnown(item.message, output);
  if (value) return [{ depth, label, value }];
  const inner = linesOf(item, depth + 1, output);
  return inner.length === 0 ? [{ depth, label, value: [empty] }] : [{ depth, label, value: [] }, ...inner];
}

/** Times, lengths of time, contents: as people write them. */
function wellKnown(message: Message, output: Output): readonly string[] | undefined {
  if (isMessage(message, TimestampSchema)) return [timeOf(message, output)];
  if (isMessage(message, DurationSchema)) return [output.span(message as Duration) || '0s'];
  if (isMessage(message, PayloadSchema)) return payloadLines(message);
  if (isMessage(message, FieldMaskSchema)) return [message.paths.join(', ')];
  if (isMessage(message, StructSchema)) return jsonLines(toJson(StructSchema, message));
  if (isMessage(message, ValueSchema)) return jsonLines(toJson(ValueSchema, message));
  return undefined;
}

function timeOf(time: Timestamp, output: Output): string {
  return output.time(time);
}

/** Textual content as it is, JSON in good order, bytes by their number. */
export function payloadLines({ contentType, body }: Payload): readonly string[] {
  if (body.case === 'data') return [`${body.value.length} bytes of ${contentType || 'unknown type'}`];
  if (body.case === 'json') return jsonLines(toJson(ValueSchema, body.value));
  const text = body.case === 'text' ? body.value : '';
  if (!/json/.test(contentType)) return plainLines(text).split('\n');
  try {
    return jsonLines(JSON.parse(text));
  } catch {
    return plainLines(text).split('\n');
  }
}

function jsonLines(value: unknown): readonly string[] {
  const short = JSON.stringify(value);
  return short.length <= 100 ? [plain(short)] : JSON.stringify(value, null, 2).split('\n').map(plain);
}

function scalar(value: unknown): string {
  return typeof value === 'boolean' ? (value ? 'yes' : 'no') : plain(String(value));
}
