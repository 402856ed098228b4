/**
 * Who is calling. The server finds it out before a handler runs (server/authentication.ts) and leaves it in the values
 * of the call's context; a handler asks `callerOf(context)` and never looks at headers or certificates.
 *
 * By then the role and the namespace have been checked against access.ts, and the request's empty namespace is filled
 * in. A handler needs the caller only for what its request alone decides, and for the actor of what it records.
 */
import { type ContextValues, createContextKey, type HandlerContext } from '@connectrpc/connect';
import { Role } from '../../gen/tailrace/v1/namespace_pb.js';

export { Role };

/** The namespace of those who are bound to none. */
export const ALL_NAMESPACES = '*';

export interface Caller {
  /** Of the token or certificate; shown as the actor of what it does. */
  readonly name: string;
  /** The one it is bound to; `*` for all. */
  readonly namespace: string;
  readonly roles: ReadonlySet<Role>;
  /** Undefined for certificates and for anonymous callers. */
  readonly tokenId: string | undefined;
}

/** Everybody who comes without a token or certificate where that is allowed; may do everything. */
export const ANONYMOUS: Caller = {
  name: 'anonymous',
  namespace: ALL_NAMESPACES,
  roles: new Set([Role.CLIENT, Role.WORKER, Role.OBSERVER, Role.OPERATOR, Role.ADMIN]),
  tokenId: undefined,
};

type Context = Pick<HandlerContext, 'values'>;

const CALLER = createContextKey<Caller>(ANONYMOUS, { description: 'who is calling' });

export function callerOf(context: Context): Caller {
  return context.values.get(CALLER);
}

export function setCaller(values: ContextValues, caller: Caller): void {
  values.set(CALLER, caller);
}

/**
 * Whose name a change is recorded under. Of those who have proved a name it is that one, and what the request says
 * besides only adds for whom they act; of anonymous callers it is what they say.
 */
export function actorOf(context: Context, said = ''): string {
  const caller = callerOf(context);
  if (caller === ANONYMOUS) return said;
  return said === '' || said === caller.name ? caller.name : `${caller.name} (for ${said})`;
}

/** Whether it may ask for all namespaces at once, as `*`. */
export function maySeeAll(caller: Caller): boolean {
  return caller.namespace === ALL_NAMESPACES;
}

/** Whether a namespace that is not there may be made by its first use. */
export function mayMakeNamespaces(caller: Caller): boolean {
  return caller.namespace === ALL_NAMESPACES && caller.roles.has(Role.ADMIN);
}
