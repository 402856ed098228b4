/** What an owner shows with every write: the part and its epoch, which fences it. */
export interface PartRef {
  readonly generation: bigint;
  readonly part: number;
  readonly epoch: bigint;
}

/** A part that an owner of a consumer says it holds. */
export interface Holding extends PartRef {
  readonly namespace: number;
  readonly consumer: string;
  readonly owner: string;
}

/** As the functions of the database take it: namespace, consumer, owner, generation, part, epoch. */
export function holdingValues({ namespace, consumer, owner, generation, part, epoch }: Holding): readonly unknown[] {
  return [namespace, consumer, owner, generation, part, epoch];
}
