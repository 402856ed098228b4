/** The namespace of a request, as a number. */
import type { HandlerContext } from '@connectrpc/connect';
import type { Registry } from '../dispatch/registry.js';
import { EngineError } from '../domain/errors.js';
import { callerOf, mayMakeNamespaces } from './caller.js';

/** Of a namespace that nobody created anything in: nothing is found there. Not 0, which stands for all of them. */
const NOWHERE = -1;

/** That it reads in. */
export async function namespaceIn(registry: Registry, name: string): Promise<number> {
  return (await registry.namespace(name)) ?? NOWHERE;
}

/** That it puts something into. It is made by its first use if the caller may make namespaces, and else has to be there. */
export async function namespaceFor(
  registry: Registry,
  name: string,
  context: Pick<HandlerContext, 'values'>,
): Promise<number> {
  const known = await registry.namespace(name);
  if (known !== undefined) return known;
  if (mayMakeNamespaces(callerOf(context))) return await registry.namespaceFor(name);
  throw new EngineError('NAMESPACE_NOT_FOUND', `there is no namespace ${name}; who may administer makes it`, {
    metadata: { namespace: name },
  });
}
