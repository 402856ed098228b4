/** The tokens of an estate: two, so that their list goes on. */
import { Role } from '../../gen/tailrace/v1/namespace_pb.js';
import type { Clients } from './tailrace.js';

/** The id of one. */
export async function makeTokens(
  { admin }: Pick<Clients, 'admin'>,
  namespace: string,
  secret: string,
): Promise<string> {
  const make = (name: string) =>
    admin.createToken({ namespace, name: `${name} ${secret}`, roles: [Role.OBSERVER], requestId: `${name} ${secret}` });
  const [{ token }] = await Promise.all([make('one'), make('two')]);
  return token?.tokenId ?? '';
}
