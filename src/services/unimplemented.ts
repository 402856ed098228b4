/**
 * Completes an implementation: every method of the service that is not built yet refuses with the typed
 * UNIMPLEMENTED, so that the whole contract is always there to be called.
 */
import type { DescMethod, DescService } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { EngineError } from '../domain/errors.js';

export function withUnimplemented<S extends DescService>(
  service: S,
  implementation: Partial<ServiceImpl<S>>,
): ServiceImpl<S> {
  const given = implementation as Record<string, ((...values: unknown[]) => unknown) | undefined>;
  const methods = service.methods.map((method) => [
    method.localName,
    given[method.localName]?.bind(implementation) ?? refusing(method),
  ]);
  return Object.fromEntries(methods) as ServiceImpl<S>;
}

function refusing(method: DescMethod): () => never {
  return () => {
    throw new EngineError('UNIMPLEMENTED', `${method.name} is not built yet`, {
      metadata: { procedure: `${method.parent.typeName}/${method.name}` },
    });
  };
}
