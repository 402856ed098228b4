/** Who may call what is said in two places: the table, which decides, and the contract, which people read. */
import { readFileSync } from 'node:fs';
import type { DescMessage } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { type Access, accessTo, mayCall, roleNames } from '../../../src/services/access.js';
import { Role } from '../../../src/services/caller.js';
import { METHODS, SERVICES } from '../../support/sample-requests.js';

const contract = SERVICES.map(({ file }) => readFileSync(`proto/${file.name}.proto`, 'utf8')).join('\n');

describe('who may call what', () => {
  test('is said of every call in the contract as it is decided', () => {
    const said = Object.fromEntries(METHODS.map(({ name }) => [name, roleInContract(name)]));
    const decided = Object.fromEntries(
      METHODS.map((method) => {
        const access = accessTo(method);
        return [method.name, access && inWords(access)];
      }),
    );
    expect(decided).toEqual(said);
  });

  test('leaves no call to everybody but those that show the contract', () => {
    expect(METHODS.filter((method) => accessTo(method) === undefined)).toEqual([]);
  });

  test('is decided by any one role, and by admin alone', () => {
    const access: Access = { roles: [Role.CLIENT], withLease: [Role.WORKER] };
    expect(mayCall(new Set([Role.OBSERVER, Role.CLIENT]), access, false)).toBe(true);
    expect(mayCall(new Set([Role.ADMIN]), access, false)).toBe(true);
    expect(mayCall(new Set([Role.WORKER]), access, false)).toBe(false);
    expect(mayCall(new Set([Role.WORKER]), access, true)).toBe(true);
    expect(mayCall(new Set(), { roles: [] }, true)).toBe(false);
  });
});

/** The gate looks at one field: a namespace that stood elsewhere would pass it unseen. */
test('a request names its namespace in its field of that name, and nowhere else', () => {
  for (const method of METHODS) {
    expect(method.input.fields.filter(({ name }) => name === 'namespace').map(({ scalar }) => scalar)).toEqual([9]);
    expect(namespacesBelow(method.input), method.name).toEqual([]);
  }
});

function roleInContract(name: string): string | undefined {
  return new RegExp(`// Role: (.*)\\.\\n  rpc ${name}\\(`).exec(contract)?.[1];
}

function inWords({ roles, withLease, everywhere }: Access): string {
  const names = roleNames(roles);
  const who = names.length === 0 ? 'admin' : names.length === 4 ? 'any' : names.join(', ');
  const lease = withLease ? `; with a lease also ${roleNames(withLease).join(', ')}` : '';
  return `${who}${lease}${everywhere ? ', bound to no namespace' : ''}`;
}

function namespacesBelow(message: DescMessage, seen = new Set<string>()): string[] {
  return message.fields.flatMap((field) => {
    const below = field.message;
    if (below === undefined || seen.has(below.typeName) || below.typeName.startsWith('google.')) return [];
    seen.add(below.typeName);
    const named = below.fields.filter(({ name }) => /namespace/.test(name)).map(({ name }) => `${field.name}.${name}`);
    return [...named, ...namespacesBelow(below, seen)];
  });
}
