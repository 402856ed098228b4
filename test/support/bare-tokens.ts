/** Tokens that nobody has used, and that do not end; one is bound to no namespace. */
import { Role } from '../../gen/tailrace/v1/namespace_pb.js';
import type { Clients } from './tailrace.js';

export async function makeBareTokens({ admin }: Clients): Promise<void> {
  for (const namespace of ['', '*']) await admin.createToken({ namespace, name: 'bare', roles: [Role.OBSERVER] });
}
