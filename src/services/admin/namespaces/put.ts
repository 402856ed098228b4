/** PutNamespace. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type PutNamespaceRequest,
  type PutNamespaceResponse,
  PutNamespaceResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { EngineError } from '../../../domain/errors.js';
import { putNamespace, readNamespace } from '../../../repository/namespaces/index.js';
import { actorOf } from '../../caller.js';
import { toNamespace } from '../../conversion/namespace.js';
import { counter, namespace, type Shape, shown, text, validate } from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { isNewName, namespaceSettings, toRule } from './settings.js';

const DESCRIPTION_BYTES = 1_024;

export function putNamespaceCall({ database, registry, after, namespaces, leastRetentionMs }: AdminServiceDeps) {
  const request = z.object({
    namespace,
    description: text(DESCRIPTION_BYTES),
    settings: namespaceSettings(leastRetentionMs, namespaces.maxPayloadBytes).optional(),
    expectedVersion: counter,
  } satisfies Shape<PutNamespaceRequest>);
  return async (message: PutNamespaceRequest, context: HandlerContext): Promise<PutNamespaceResponse> => {
    const { namespace: name, description, settings, expectedVersion } = validate(request, message);
    if (!isNewName(name) && (await readNamespace(database, name)) === undefined) throw wrongName(name);
    const { verdict, version } = await putNamespace(database, {
      name,
      rule: toRule(description, settings),
      expectedVersion,
      actor: actorOf(context),
    });
    if (verdict === 'conflict') throw versionConflict(name, version);
    if (verdict !== 'same') {
      await registry.refresh();
      after.committed(0);
    }
    const row = await readNamespace(database, name);
    if (row === undefined) throw new Error(`namespace ${name} was made and is not there`);
    return create(PutNamespaceResponseSchema, { namespace: toNamespace(row, namespaces) });
  };
}

function wrongName(name: string): EngineError {
  const description = `must be 1 to 64 lower-case letters, digits, '-', '_' and '.'; it is ${shown(name)}`;
  return new EngineError('INVALID_FIELD', `namespace ${description}`, {
    violations: [{ field: 'namespace', description }],
  });
}

function versionConflict(name: string, version: bigint): EngineError {
  const text = version === 0n ? `there is no namespace ${name} yet` : `namespace ${name} has version ${version}`;
  return new EngineError('VERSION_CONFLICT', text, {
    metadata: { namespace: name, current_version: String(version) },
  });
}
