/** Contents and documents given to a command: in the line itself, in a file, or on standard input as `-`. */
import { readFile } from 'node:fs/promises';
import {
  type DescMessage,
  fromJson,
  type JsonValue,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import type { PayloadSchema } from '../../gen/tailrace/v1/payload_pb.js';
import { text } from './rules.js';
import type { Session } from './session.js';
import { UsageError } from './usage-error.js';

const JSON_TYPE = 'application/json';

/** One content, under the name it has in the command. */
export function payloadRules<N extends string>(name: N, what: string) {
  return {
    [name]: text('json', `${what}, as JSON.`),
    [`${name}File`]: text(
      'file',
      `${what}, from a file; - is standard input. JSON unless --content-type says otherwise.`,
      {
        file: true,
      },
    ),
    contentType: text('type', 'Type of that content. Default application/json.'),
  } as Record<N | `${N}File` | 'contentType', ReturnType<typeof text>>;
}

/** Undefined if none was given. */
export async function payloadOf(
  session: Session,
  inline: string | undefined,
  path: string | undefined,
  contentType: string = JSON_TYPE,
): Promise<MessageInitShape<typeof PayloadSchema> | undefined> {
  if (inline !== undefined && path !== undefined) throw new UsageError('give the content itself or a file, not both');
  if (inline === undefined && path === undefined) return undefined;
  const data = inline === undefined ? await contentOf(session, path ?? '-') : Buffer.from(inline);
  if (!/^text\/|json/.test(contentType)) return { contentType, body: { case: 'data', value: data } };
  const value = utf8(data);
  if (/json/.test(contentType)) parsed(value, inline === undefined ? (path ?? '') : 'the content');
  return { contentType, body: { case: 'text', value } };
}

/** A message in its JSON form. What a `get --json` has shown is taken as well: its `spec`. */
export async function documentOf<D extends DescMessage>(
  session: Session,
  schema: D,
  path: string,
): Promise<MessageShape<D>> {
  const whole = parsed(utf8(await contentOf(session, path)), path);
  const nested = typeof whole === 'object' && whole !== null && !Array.isArray(whole) ? whole['spec'] : undefined;
  try {
    return fromJson(schema, nested ?? whole);
  } catch (error) {
    throw new UsageError(`${shown(path)} is no ${schema.name}: ${(error as Error).message}`);
  }
}

export async function contentOf({ io, signal }: Session, path: string): Promise<Buffer> {
  if (path === '-') {
    const chunks: Buffer[] = [];
    const abandoned = () => io.stdin.destroy();
    signal.addEventListener('abort', abandoned, { once: true });
    for await (const chunk of io.stdin) chunks.push(Buffer.from(chunk as Buffer | string));
    signal.removeEventListener('abort', abandoned);
    return Buffer.concat(chunks);
  }
  try {
    return await readFile(path);
  } catch (error) {
    throw new UsageError(`${path} cannot be read: ${(error as Error).message}`);
  }
}

function utf8(data: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(data);
  } catch {
    throw new UsageError('the content is not text in UTF-8; say what it is with --content-type');
  }
}

function parsed(text: string, name: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue;
  } catch (error) {
    throw new UsageError(`${shown(name)} is not JSON: ${(error as Error).message}`);
  }
}

function shown(path: string): string {
  return path === '-' ? 'standard input' : path;
}
