/** GetFlowTree. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type GetFlowTreeRequest,
  type GetFlowTreeResponse,
  GetFlowTreeResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { cursorAt } from '../../../domain/cursor.js';
import { EngineError } from '../../../domain/errors.js';
import { readTree, type TreePlace } from '../../../repository/flows/index.js';
import { toTreeNode } from '../../conversion/flow.js';
import { namespaceIn } from '../../namespace-in.js';
import { Pages } from '../../paging.js';
import { id, integer, namespace, optionalName, pageSize, pageToken, type Shape, validate } from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { flowNotFound } from './get.js';

const DEEPEST = 1_000;

const request = z.object({
  namespace,
  flowId: id,
  rootNodeId: optionalName(),
  maxDepth: integer(0, DEEPEST).transform((depth) => (depth === 0 ? null : depth)),
  pageSize,
  pageToken,
} satisfies Shape<GetFlowTreeRequest>);

const SCANS = ['node', 'events', 'executions'] as const;

export function getFlowTreeCall({ database, registry, source }: AdminServiceDeps) {
  return async (message: GetFlowTreeRequest): Promise<GetFlowTreeResponse> => {
    const { pageSize: size, pageToken: token, ...asked } = validate(request, message);
    const pages = new Pages('GetFlowTree', asked, ['id', 'number']);
    const [after, scan] = pages.keys(token) ?? [];
    const of = await namespaceIn(registry, asked.namespace);
    const page = await readTree(database, {
      namespace: of,
      flow: asked.flowId,
      root: asked.rootNodeId,
      depth: asked.maxDepth,
      after: after === undefined ? undefined : { id: after, scan: SCANS[Number(scan)] ?? 'node' },
      size,
    });
    if (page === 'no_flow') throw flowNotFound(asked.flowId);
    if (page === 'no_root') throw nodeNotFound(asked.flowId, asked.rootNodeId ?? '');
    const { incarnation } = await source.head();
    const cursorOf = (position: bigint) => cursorAt({ namespace: of, incarnation }, position);
    return create(GetFlowTreeResponseSchema, {
      nodes: page.nodes.map((node) => toTreeNode(node, asked.namespace, cursorOf)),
      nextPageToken: pages.token(page.next && keysOf(page.next)),
    });
  };
}

/** An event may be asked for just as well; the contract has one reason for both. */
function nodeNotFound(flow: string, node: string): EngineError {
  return new EngineError('EXECUTION_NOT_FOUND', `flow ${flow} has no execution and no event ${node}`, {
    metadata: { execution_id: node },
  });
}

function keysOf({ id, scan }: TreePlace): [string, number] {
  return [id, SCANS.indexOf(scan)];
}
