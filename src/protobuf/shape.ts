/**
 * The objects that messages of a type are read into: those that the library makes, at the cost of a copy.
 *
 * A field that may be absent is no property then. To add one later is what costs most about an object of many properties, for it
 * becomes a hash table. So it is copied with those properties that the message before had; one that turns out to have others is
 * copied once more, and is what the next is like.
 */
import { create, type DescMessage, type Message } from '@bufbuild/protobuf';

export type Fields = Record<string, unknown>;

export class Shape {
  /** A message that has nothing. */
  readonly #empty: Fields;
  /** What each message needs anew, because it is filled in place. */
  readonly #filled: readonly (readonly [string, () => unknown])[];
  /** Those that may be absent. */
  readonly #optional: readonly string[];
  #present: readonly string[] = [];
  #absent: readonly string[];
  #expected: Fields;

  constructor(schema: DescMessage) {
    // A copy has its properties in place, whatever the first one was put together like.
    this.#empty = { ...(create(schema) as Message & Fields) };
    this.#filled = schema.members.flatMap((member) => {
      if (member.kind === 'oneof') return [[member.localName, () => ({ case: undefined })] as const];
      if (member.fieldKind === 'list') return [[member.localName, () => []] as const];
      return member.fieldKind === 'map' ? [[member.localName, () => ({})] as const] : [];
    });
    this.#optional = schema.members.map(({ localName }) => localName).filter((name) => !(name in this.#empty));
    this.#absent = this.#optional;
    this.#expected = this.#empty;
  }

  /** To be filled, and then fitted. */
  empty(): Fields {
    const message = { ...this.#expected };
    for (const [name, make] of this.#filled) message[name] = make();
    return message;
  }

  /** With the properties that it has, and no others. */
  fitted(message: Fields): Fields {
    for (const name of this.#present) if (message[name] === undefined) return this.#refitted(message);
    for (const name of this.#absent) if (message[name] !== undefined) return this.#refitted(message);
    return message;
  }

  #refitted(message: Fields): Fields {
    this.#present = this.#optional.filter((name) => message[name] !== undefined);
    this.#absent = this.#optional.filter((name) => message[name] === undefined);
    const fitted = { ...message };
    for (const name of this.#absent) delete fitted[name];
    const expected = { ...this.#empty };
    for (const name of this.#present) expected[name] = undefined;
    this.#expected = { ...expected };
    return { ...fitted };
  }
}
