/**
 * Client certificates that stand for callers: a list of rules, the first whose subject matches decides. By the time one
 * is asked for here, TLS has verified that an authority of the server's signed it.
 */
import { type Caller, Role } from '../caller.js';

/** The attributes of a certificate's subject by their short names, such as CN and O. */
export type CertificateSubject = Readonly<Record<string, readonly string[]>>;

export interface CertificateRule {
  /** `CN=worker-*,O=Example`: attributes that must all be there; a star stands for any text. */
  readonly subject: string;
  /** The actor of what it does. Default: its CN. */
  readonly name?: string | undefined;
  /** `*`: all. */
  readonly namespace: string;
  readonly roles: readonly RoleName[];
}

export type RoleName = 'client' | 'worker' | 'observer' | 'operator' | 'admin';

const ROLES: Readonly<Record<RoleName, Role>> = {
  client: Role.CLIENT,
  worker: Role.WORKER,
  observer: Role.OBSERVER,
  operator: Role.OPERATOR,
  admin: Role.ADMIN,
};

interface Wanted {
  readonly attribute: string;
  readonly value: RegExp;
}

export class Certificates {
  readonly #rules: readonly { readonly wanted: readonly Wanted[]; readonly rule: CertificateRule }[];
  /** A connection's subject is one object for all its calls. */
  readonly #callers = new WeakMap<CertificateSubject, { readonly caller: Caller | undefined }>();

  constructor(rules: readonly CertificateRule[]) {
    this.#rules = rules.map((rule) => ({ wanted: wantedBy(rule.subject), rule }));
  }

  /** Undefined: no rule names it, and it stands for nobody. */
  callerOf(subject: CertificateSubject): Caller | undefined {
    const known = this.#callers.get(subject);
    if (known) return known.caller;
    const found = this.#rules.find(({ wanted }) =>
      wanted.every(({ attribute, value }) => subject[attribute]?.some((one) => value.test(one)) === true),
    );
    const caller = found && toCaller(found.rule, subject);
    this.#callers.set(subject, { caller });
    return caller;
  }
}

function toCaller({ name, namespace, roles }: CertificateRule, subject: CertificateSubject): Caller {
  return {
    name: name ?? subject['CN']?.[0] ?? 'certificate',
    namespace,
    roles: new Set(roles.map((role) => ROLES[role])),
    tokenId: undefined,
  };
}

/** A comma separates attributes only where one follows it: names of organizations hold some. */
function wantedBy(subject: string): Wanted[] {
  return subject.split(/,\s*(?=[A-Za-z][A-Za-z0-9.]*=)/).map((part) => {
    const [attribute = '', ...rest] = part.split('=');
    const literal = rest.join('=').split('*').map(escaped).join('.*');
    return { attribute: attribute.trim(), value: new RegExp(`^${literal}$`, 's') };
  });
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
}
