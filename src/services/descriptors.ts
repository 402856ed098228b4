/**
 * Finds the file that declares a symbol or an extension, among some files and everything they import.
 * This is what server reflection answers from; it is built once, on the first question.
 */
import { type DescExtension, type DescFile, toBinary } from '@bufbuild/protobuf';
import { nestedTypes } from '@bufbuild/protobuf/reflect';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';

export class Descriptors {
  readonly #files = new Map<string, DescFile>();
  readonly #symbols = new Map<string, DescFile>();
  readonly #extensions = new Map<string, Map<number, DescExtension>>();

  constructor(files: Iterable<DescFile>) {
    for (const file of files) this.#add(file);
  }

  /** The file of that path, such as `tailrace/v1/error.proto`, with its imports. */
  byPath(path: string): Uint8Array[] | undefined {
    return serialized(this.#files.get(path));
  }

  /** The file that declares a type, field, enum value, service or method, with its imports. */
  bySymbol(symbol: string): Uint8Array[] | undefined {
    return serialized(this.#symbols.get(symbol));
  }

  byExtension(extended: string, fieldNumber: number): Uint8Array[] | undefined {
    return serialized(this.#extensions.get(extended)?.get(fieldNumber)?.file);
  }

  /** Undefined when the message itself is unknown, empty when nothing extends it. */
  extensionNumbers(extended: string): number[] | undefined {
    if (!this.#symbols.has(extended)) return undefined;
    return [...(this.#extensions.get(extended)?.keys() ?? [])];
  }

  #add(file: DescFile): void {
    if (this.#files.has(file.proto.name)) return;
    this.#files.set(file.proto.name, file);
    for (const imported of file.dependencies) this.#add(imported);
    for (const type of nestedTypes(file)) {
      for (const symbol of symbolsOf(type)) this.#symbols.set(symbol, file);
      if (type.kind === 'extension') this.#addExtension(type);
    }
  }

  #addExtension(extension: DescExtension): void {
    const extended = extension.extendee.typeName;
    const known = this.#extensions.get(extended) ?? new Map<number, DescExtension>();
    this.#extensions.set(extended, known.set(extension.number, extension));
  }
}

/** A type's own name and those of its members. Enum values are named beside their enum, as in C++. */
function symbolsOf(type: ReturnType<typeof nestedTypes> extends Iterable<infer T> ? T : never): string[] {
  switch (type.kind) {
    case 'message':
      return [type.typeName, ...type.members.map((member) => `${type.typeName}.${member.name}`)];
    case 'enum': {
      const scope = type.typeName.slice(0, type.typeName.lastIndexOf('.') + 1);
      return [type.typeName, ...type.values.map((value) => scope + value.name)];
    }
    case 'service':
      return [type.typeName, ...type.methods.map((method) => `${type.typeName}.${method.name}`)];
    case 'extension':
      return [type.typeName];
  }
}

const bytes = new WeakMap<DescFile, Uint8Array>();

/**
 * Clients want every file they lack in one answer and do not mind those they have: so the whole closure, each once,
 * and each before what it imports.
 */
function serialized(root: DescFile | undefined): Uint8Array[] | undefined {
  if (!root) return undefined;
  const closure = new Set<DescFile>();
  const visit = (file: DescFile) => {
    for (const imported of file.dependencies) if (!closure.has(imported)) visit(imported);
    closure.add(file);
  };
  visit(root);
  return [...closure].reverse().map((file) => {
    const known = bytes.get(file) ?? toBinary(FileDescriptorProtoSchema, file.proto);
    bytes.set(file, known);
    return known;
  });
}
