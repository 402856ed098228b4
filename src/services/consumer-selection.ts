/** What a consumer follows, by what is stored of it. */
import { RecordFilter } from '../log/filter.js';
import type { Selection } from '../log/selection.js';
import { toConsumerSpec } from './conversion/consumer.js';

export interface StoredConsumer {
  readonly namespace: number;
  /** As stored. */
  readonly spec: unknown;
  readonly splitKey: number;
  /** Of the generation. */
  readonly partCount: number;
}

export function selectionOf({ namespace, spec, splitKey, partCount }: StoredConsumer): Selection {
  const { flowId: flow, executionId: execution, ...fields } = toConsumerSpec(spec).filter ?? {};
  return { filter: new RecordFilter({ ...fields, namespace, flow, execution }), splitKey, partCount };
}
