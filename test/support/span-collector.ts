/** A collector of spans over OTLP/HTTP, that reads as much of what it gets as tests look at. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';

export interface CollectedSpan {
  readonly service: string;
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
}

/** Fields of a message by number; groups of bytes stay bytes. */
type Fields = ReadonlyMap<number, readonly Uint8Array[]>;

export class SpanCollector {
  readonly spans: CollectedSpan[] = [];
  readonly paths = new Set<string>();
  readonly authorizations = new Set<string>();
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      this.paths.add(request.url ?? '');
      this.authorizations.add(request.headers.authorization ?? '');
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        this.spans.push(...spansIn(Buffer.concat(chunks)));
        response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end();
      });
    });
  }

  static async start(): Promise<SpanCollector> {
    const collector = new SpanCollector();
    await new Promise<void>((resolve) => collector.#server.listen(0, '127.0.0.1', resolve));
    return collector;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

function spansIn(request: Uint8Array): CollectedSpan[] {
  return all(request, 1).flatMap((resourceSpans) => {
    const attributes = all(resourceSpans, 1).flatMap((resource) => all(resource, 1));
    const named = attributes.find((attribute) => text(fieldsOf(attribute), 1) === 'service.name');
    const [value] = named ? all(named, 2) : [];
    const service = value ? text(fieldsOf(value), 1) : '';
    const spans = all(resourceSpans, 2).flatMap((scopeSpans) => all(scopeSpans, 2));
    return spans.map((span) => {
      const fields = fieldsOf(span);
      const [traceId, spanId, parentSpanId] = [hex(fields, 1), hex(fields, 2), hex(fields, 4)];
      return { service, name: text(fields, 5), traceId, spanId, parentSpanId };
    });
  });
}

function all(message: Uint8Array, field: number): readonly Uint8Array[] {
  return fieldsOf(message).get(field) ?? [];
}

function text(fields: Fields, field: number): string {
  return Buffer.from(fields.get(field)?.[0] ?? []).toString();
}

function hex(fields: Fields, field: number): string {
  return Buffer.from(fields.get(field)?.[0] ?? []).toString('hex');
}

function fieldsOf(message: Uint8Array): Fields {
  const reader = new BinaryReader(message);
  const fields = new Map<number, Uint8Array[]>();
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (type === WireType.LengthDelimited) fields.set(field, [...(fields.get(field) ?? []), reader.bytes()]);
    else reader.skip(type, field);
  }
  return fields;
}
