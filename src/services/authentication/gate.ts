/**
 * The one gate before every handler: who calls, may they call this, and is it about a namespace of theirs.
 *
 * A token that is sent is always checked, also where nobody has to send one, and goes before a certificate. Whatever is
 * wrong with a token looks the same to its bearer. Nothing here waits for anything when the caller is anonymous or known.
 */
import type { Message } from '@bufbuild/protobuf';
import { EngineError } from '../../domain/errors.js';
import { type Access, mayCall, roleNames } from '../access.js';
import { ALL_NAMESPACES, ANONYMOUS, type Caller, mayMakeNamespaces, Role } from '../caller.js';
import type { Authenticator } from './authenticator.js';
import type { CertificateSubject, Certificates } from './certificates.js';

export interface Credentials {
  /** The header of that name. */
  readonly authorization: string | undefined;
  /** The same object for every call of a connection. */
  readonly certificate: CertificateSubject | undefined;
}

export interface GateOptions {
  readonly authenticator: Authenticator;
  readonly certificates: Certificates;
  /** Whether callers without a token or certificate may do everything. */
  readonly anonymous: boolean;
  readonly namespaces: {
    /** Whether this process has met it. */
    knows(name: string): boolean;
    namespace(name: string): Promise<number | undefined>;
  };
}

const BEARER = /^bearer +(\S+) *$/i;
const DEFAULT_NAMESPACE = 'default';
/** What Postgres can be asked for. */
const ASKABLE = /^[^\0\p{Surrogate}]{1,200}$/u;

export class Gate {
  readonly #options: GateOptions;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  /** Before the request is read. Refuses with INVALID_TOKEN or ROLE_REQUIRED. */
  admit(credentials: Credentials, access: Access): Caller | Promise<Caller> {
    const caller = this.#identify(credentials);
    return caller instanceof Promise ? caller.then((known) => allowed(known, access)) : allowed(caller, access);
  }

  /** Once it is read: fills in its namespace. Refuses with ROLE_REQUIRED or NAMESPACE_DENIED. */
  enter(caller: Caller, access: Access, message: Message): Promise<void> | undefined {
    const request = message as Message & { namespace: string; lease?: unknown };
    if (!mayCall(caller.roles, access, request.lease !== undefined)) throw roleRequired(access);
    const bound = caller.namespace;
    if (bound !== ALL_NAMESPACES) {
      if (access.everywhere || (request.namespace !== '' && request.namespace !== bound)) {
        throw namespaceDenied();
      }
      request.namespace = bound;
    } else if (request.namespace === '') {
      request.namespace = DEFAULT_NAMESPACE;
    }
    const { namespace } = request;
    if (namespace === ALL_NAMESPACES || mayMakeNamespaces(caller)) return undefined;
    return this.#options.namespaces.knows(namespace) ? undefined : this.#mustBeThere(namespace);
  }

  /** Why a header that has let a call in does so no more; undefined while it does, and while nobody can tell. */
  async refusalOf(authorization: string): Promise<EngineError | undefined> {
    try {
      await this.#identify({ authorization, certificate: undefined });
    } catch (error) {
      if (error instanceof EngineError && error.reason === 'INVALID_TOKEN') return error;
    }
    return undefined;
  }

  #identify({ authorization, certificate }: Credentials): Caller | Promise<Caller> {
    if (authorization !== undefined) {
      const secret = BEARER.exec(authorization)?.[1];
      const caller = secret === undefined ? undefined : this.#options.authenticator.callerOf(secret);
      return caller instanceof Promise ? caller.then(present) : present(caller);
    }
    const certified = certificate && this.#options.certificates.callerOf(certificate);
    if (certified) return certified;
    if (this.#options.anonymous) return ANONYMOUS;
    throw invalidToken();
  }

  /** Only those who administer everything make a namespace by using it. */
  async #mustBeThere(name: string): Promise<void> {
    if (!ASKABLE.test(name) || (await this.#options.namespaces.namespace(name)) === undefined) throw namespaceDenied();
  }
}

function present(caller: Caller | undefined): Caller {
  if (caller === undefined) throw invalidToken();
  return caller;
}

function allowed(caller: Caller, access: Access): Caller {
  // Whether it comes with a lease is seen once the request is read.
  if (!mayCall(caller.roles, access, true)) throw roleRequired(access);
  return caller;
}

function invalidToken(): EngineError {
  return new EngineError(
    'INVALID_TOKEN',
    'no valid token came with the call: send one as `authorization: Bearer tr_…`, in the header or the metadata; an admin ' +
      'makes one with CreateToken',
  );
}

function roleRequired(access: Access): EngineError {
  const names = roleNames([...access.roles, ...(access.withLease ?? []), Role.ADMIN]);
  const lease = access.withLease ? `; ${roleNames(access.withLease).join(' or ')} only with a lease` : '';
  return new EngineError('ROLE_REQUIRED', `the caller needs one of the roles ${names.join(', ')}${lease}`, {
    metadata: { roles: names.join(',') },
  });
}

/** The same whether or not there is such a namespace. */
function namespaceDenied(): EngineError {
  return new EngineError(
    'NAMESPACE_DENIED',
    'the caller has no rights in the namespace that it asks for, if that is there at all',
  );
}
