/** The namespace that a request reads in. */
import type { Registry } from '../dispatch/registry.js';

/** Of a namespace that nobody created anything in: nothing is found there. Not 0, which stands for all of them. */
const NOWHERE = -1;

export async function namespaceIn(registry: Registry, name: string): Promise<number> {
  return (await registry.namespace(name)) ?? NOWHERE;
}
