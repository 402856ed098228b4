/**
 * Results for programs: the messages of the API in their JSON form. Numbers that are zero and texts that are empty are
 * there as well, so that a program finds them; 64-bit numbers are texts, as the form says.
 */
import { type DescMessage, type JsonValue, type MessageShape, toJson } from '@bufbuild/protobuf';

const OPTIONS = { alwaysEmitImplicit: true };

/** One document. */
export function document(value: unknown): string {
  return JSON.stringify(value, null, 2);
}

/** One line of a stream. */
export function line<D extends DescMessage>(schema: D, message: MessageShape<D>): string {
  return JSON.stringify(toJson(schema, message, OPTIONS));
}

export function messageDocument<D extends DescMessage>(schema: D, message: MessageShape<D>): string {
  return document(toJson(schema, message, OPTIONS));
}

/** Every list has this form. An empty token: there is no more. */
export function listDocument<D extends DescMessage>(
  schema: D,
  items: readonly MessageShape<D>[],
  nextPageToken: string,
  more: Readonly<Record<string, JsonValue>> = {},
): string {
  return document({ items: items.map((item) => toJson(schema, item, OPTIONS)), nextPageToken, ...more });
}
