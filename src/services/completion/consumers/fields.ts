/** What an owner says in every call on a consumer. */
import { z } from 'zod';
import type { ConsumerPartRef } from '../../../../gen/tailrace/v1/consumer_pb.js';
import { type CursorScope, cursorAt, resolveCursor } from '../../../domain/cursor.js';
import type { Holding } from '../../../repository/consumers/index.js';
import { counter, integer, name, namespace, refuse, type Shape, text } from '../../validation.js';
import type { CompletionDependencies } from '../index.js';

export const CURSOR_BYTES = 1_000;
const LAST_PART = 255;

/** Random per process; up to 200 bytes. */
export const ownerId = name();

/** A holding is of a generation with a number: 0 stands for the live one in AcquireConsumer only. */
export const partRef = z.object({
  generation: counter.check((context) => {
    if (context.value === 0n) refuse(context.issues, context.value, 'is required');
  }),
  part: integer(0, LAST_PART),
  epoch: counter,
} satisfies Shape<ConsumerPartRef>);

/** A cursor that must be there. */
export const cursor = text(CURSOR_BYTES).check((context) => {
  if (context.value === '') refuse(context.issues, context.value, 'is required');
});

export const ofConsumer = { namespace, consumer: name(), ownerId };

interface Held {
  readonly consumer: string;
  readonly ownerId: string;
  readonly part: z.output<typeof partRef>;
}

export function holdingOf({ consumer, ownerId: owner, part }: Held, namespaceId: number): Holding {
  return { namespace: namespaceId, consumer, owner, ...part };
}

const LAST_POSITION = 2n ** 63n - 1n;

/** Cursors and positions of a namespace. Whether a position is there at all, the database says. */
export class Places {
  readonly #scope: CursorScope;

  constructor(namespaceId: number, incarnation: string) {
    this.#scope = { namespace: namespaceId, incarnation, floor: 0n, head: LAST_POSITION };
  }

  /** Throws BAD_CURSOR. */
  position(given: string): bigint {
    return resolveCursor(given, this.#scope);
  }

  cursor(position: bigint): string {
    return cursorAt(this.#scope, position);
  }
}

export async function placesIn({ live }: CompletionDependencies, namespaceId: number): Promise<Places> {
  return new Places(namespaceId, await live.incarnation());
}
