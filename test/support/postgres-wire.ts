/** As much of Postgres' protocol as a proxy needs to know which statement is under way. */

/** Cuts a stream into the messages of Postgres' protocol. */
export class Messages {
  #rest: Buffer = Buffer.alloc(0);
  /** A client's first message has no type. */
  #untyped: boolean;

  constructor(fromClient: boolean) {
    this.#untyped = fromClient;
  }

  take(bytes: Buffer): { type: string; body: Buffer }[] {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    const messages: { type: string; body: Buffer }[] = [];
    for (;;) {
      const head = this.#untyped ? 0 : 1;
      if (this.#rest.length < head + 4) return messages;
      const end = head + this.#rest.readInt32BE(head);
      if (this.#rest.length < end) return messages;
      const type = this.#untyped ? '' : String.fromCharCode(this.#rest[0] ?? 0);
      messages.push({ type, body: this.#rest.subarray(head + 4, end) });
      this.#rest = this.#rest.subarray(end);
      this.#untyped = false;
    }
  }
}

/** The statement that a Bind names, after the name of its portal. */
export function nameIn(body: Buffer): string {
  return textOf(body.subarray(body.indexOf(0) + 1));
}

export function textOf(body: Buffer): string {
  return body.toString('utf8', 0, body.indexOf(0));
}
