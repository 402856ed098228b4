/** One thing that keeps an execution where it is. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { HoldSchema } from '../../../../gen/tailrace/v1/explain_pb.js';

export type Hold = MessageInitShape<typeof HoldSchema> & { readonly message: string };

/** At most so many are named; how many more there are is told. */
export function several(named: readonly string[], most: number): string {
  const more = named.length - most;
  return [...named.slice(0, most), ...(more > 0 ? [`${more} more`] : [])].join(', ');
}
