/** ListMatchedSignals: what satisfied a suspension of the attempt that a lease holds. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type ListMatchedSignalsRequest,
  type ListMatchedSignalsResponse,
  ListMatchedSignalsResponseSchema,
} from '../../../../gen/tailrace/v1/engine_service_pb.js';
import { listMatchedSignals, whyNotHeld } from '../../../repository/suspensions/index.js';
import { toSignal } from '../../conversion/signal.js';
import { Pages } from '../../paging.js';
import { integer, namespace, pageSize, pageToken, type Shape, validate } from '../../validation.js';
import type { EngineServiceDeps } from '../deps.js';
import { heldLease, leaseRef } from '../lease-ref.js';
import { refusalOf } from '../refusals.js';
import { required } from '../required.js';

const MOST_SUSPENSIONS = 2 ** 31 - 1;

const request = z.object({
  namespace,
  lease: required(leaseRef),
  suspensionNumber: integer(0, MOST_SUSPENSIONS),
  pageSize,
  pageToken,
} satisfies Shape<ListMatchedSignalsRequest>);

export function listMatchedSignalsCall({ database, registry }: EngineServiceDeps) {
  return async (message: ListMatchedSignalsRequest): Promise<ListMatchedSignalsResponse> => {
    const asked = validate(request, message);
    const { lease, suspensionNumber: number } = asked;
    const bound = [asked.namespace, lease.executionId, lease.fencingToken, number];
    const pages = new Pages('ListMatchedSignals', bound, ['number']);
    const [after = '0'] = pages.keys(asked.pageToken) ?? [];
    const holder = heldLease(lease, await registry.namespace(asked.namespace));
    const found = await listMatchedSignals(database, holder, {
      number: number === 0 ? null : number,
      after: Number(after),
      size: asked.pageSize,
    });
    if (found === undefined) throw refusalOf(await whyNotHeld(database, holder), lease.executionId);
    const last = found.signals.at(-1);
    return create(ListMatchedSignalsResponseSchema, {
      signals: found.signals.map(toSignal),
      nextPageToken: pages.token(found.more && last ? [last.number] : undefined),
    });
  };
}
