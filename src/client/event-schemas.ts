/**
 * Types of events and what their payloads look like: a map from type to schema, known to the compiler and held against
 * every payload that is sent or received.
 *
 * Schemas are zod's, or any others of the Standard Schema interface (standardschema.dev) that answer at once. What is sent
 * is what was given, once it has been read back as a receiver will read it: a value that only its sender could make sense
 * of (a Date where the schema wants one and JSON makes it text) is refused where it is made.
 */
import type { Payload } from '../../gen/tailrace/v1/payload_pb.js';
import { Content, ContentError, toPayload } from './content.js';

interface Issue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

type Validation<Out> = { readonly value: Out; readonly issues?: undefined } | { readonly issues: readonly Issue[] };

export interface EventSchema<In = unknown, Out = In> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => Validation<Out> | Promise<Validation<Out>>;
    readonly types?: { readonly input: In; readonly output: Out } | undefined;
  };
}

export type EventSchemas = Readonly<Record<string, EventSchema>>;

/** Without a map every type goes, with any payload. */
export type AnyEvents = Readonly<Record<string, EventSchema>>;

export type EventType<E extends EventSchemas> = keyof E & string;

/** What may be sent as the payload of this type. */
export type SentPayload<E extends EventSchemas, T extends EventType<E>> = Side<E[T], 'input'>;

/** What a receiver of this type is given. */
export type ReceivedPayload<E extends EventSchemas, T extends EventType<E>> = Side<E[T], 'output'>;

type Side<S extends EventSchema, K extends 'input' | 'output'> = NonNullable<S['~standard']['types']>[K];

/** A payload does not fit the schema of its type, or there is none. Trying again does not help. */
export class EventContentError extends ContentError {
  override readonly name = 'EventContentError';
}

/** The payload as it is sent. Throws an EventContentError for one that its receivers would refuse. */
export function sentPayload(schemas: EventSchemas | undefined, type: string, value: unknown): Payload | undefined {
  const payload = toPayload(value);
  if (schemas) checked(schemas, type, decoded(new Content(payload)));
  return payload;
}

/** The payload as its receiver is given it: read and, with schemas, parsed. Throws an EventContentError. */
export function receivedPayload(schemas: EventSchemas | undefined, type: string, content: Content): unknown {
  const value = decoded(content);
  return schemas ? checked(schemas, type, value) : value;
}

/** JSON as what it says, other text as a string, anything else as bytes; undefined if there is nothing. */
function decoded(content: Content): unknown {
  if (content.empty) return undefined;
  const [mediaType = ''] = content.contentType.split(';');
  if (/[/+]json\s*$/i.test(mediaType)) return content.json();
  return content.isText ? content.text() : content.bytes();
}

function checked(schemas: EventSchemas, type: string, value: unknown): unknown {
  const schema = Object.hasOwn(schemas, type) ? schemas[type] : undefined;
  if (!schema) throw new EventContentError(`there is no schema for events of type ${type}`);
  const result = schema['~standard'].validate(value);
  if (result instanceof Promise) throw new TypeError(`the schema of ${type} does not answer at once`);
  if (!result.issues) return result.value;
  const problems = result.issues.map(({ path, message }) => (path?.length ? `${placeOf(path)}: ${message}` : message));
  throw new EventContentError(`the payload of ${type} does not fit its schema: ${problems.join('; ')}`);
}

function placeOf(path: NonNullable<Issue['path']>): string {
  return path.map((part) => String(typeof part === 'object' ? part.key : part)).join('.');
}
