/** `tailrace tokens …` */
import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { CreateTokenResponseSchema } from '../../../gen/tailrace/v1/admin_service_pb.js';
import { RoleSchema, type Token, TokenSchema } from '../../../gen/tailrace/v1/namespace_pb.js';
import { confirmed, YES } from '../asking.js';
import { command, group } from '../command.js';
import { nameOf } from '../enum-words.js';
import { EXIT } from '../exit-codes.js';
import { fields } from '../fields.js';
import { listed, PAGES } from '../pages.js';
import { REASON } from '../recurring-options.js';
import { argument, choices, flag, span, text } from '../rules.js';
import { done, present } from '../showing.js';
import type { Column } from '../table.js';
import { UsageError } from '../usage-error.js';

const rolesOf = ({ roles }: Token) => roles.map((role) => nameOf(RoleSchema, role)).join(', ');

const COLUMNS: readonly Column<Token>[] = [
  { title: 'token', of: ({ tokenId }) => tokenId },
  { title: 'name', flexible: true, of: ({ name }) => name },
  { title: 'of', of: ({ namespace }) => namespace },
  { title: 'roles', of: rolesOf },
  { title: 'created', of: ({ createTime }, output) => output.time(createTime) },
  { title: 'by', flexible: true, spare: true, of: ({ actor }) => actor },
  { title: 'last used', spare: true, of: ({ lastUsedTime }, output) => output.time(lastUsedTime) },
  { title: 'ends', spare: true, of: ({ expireTime }, output) => output.time(expireTime) },
  { title: 'revoked', spare: true, of: ({ revokeTime }, output) => output.time(revokeTime) },
];

const list = command({
  name: 'list',
  about: 'List tokens by name, without their secrets.',
  options: { revoked: flag('Also those that are revoked or have ended.'), ...PAGES },
  examples: [['Of all namespaces', "tailrace tokens list -n '*'"]],
  run: (session, given) =>
    listed(session, given, TokenSchema, COLUMNS, async (page) => {
      const asked = { namespace: session.namespace, includeRevoked: given.revoked, ...page };
      const { tokens: items, nextPageToken } = await session.api.admin.listTokens(asked, session.bounds());
      return { items, nextPageToken };
    }),
});

const create = command({
  name: 'create',
  about: 'Make a token and print its secret, which is never shown again.',
  details: 'It is bound to --namespace; with -n "*" it is good for all.',
  arguments: { name: argument('name', 'Name, shown as the actor of what is done with it.') },
  options: {
    role: choices(RoleSchema, 'What it may do.'),
    expiry: span('How long it is good for. Default: for ever.'),
    secretFile: text('file', 'Write the secret there, readable for its owner only, instead of printing it.', {
      file: true,
    }),
    requestId: text('id', 'Keeps a repeat from making another one. Default: a fresh one.'),
  },
  examples: [
    ['For a worker', 'tailrace tokens create mailer --role worker --secret-file mailer.token'],
    ['For an operator of all namespaces, for a day', "tailrace tokens create anna --role operator -n '*' --expiry 1d"],
  ],
  async run(session, { name, role, expiry, secretFile, requestId }) {
    const { output, namespace, api } = session;
    if (role.length === 0) throw new UsageError('say what it may do: --role');
    const asked = fields({ namespace, requestId: requestId ?? randomUUID(), name, roles: [...role], expiry });
    const answer = await api.admin.createToken(asked, session.bounds());
    const made = present(answer.token);
    output.note(`token ${made.tokenId} of ${made.name} in ${made.namespace}: ${rolesOf(made)}`);
    if (secretFile === undefined) return await done(session, CreateTokenResponseSchema, answer, answer.secret);
    await writeFile(secretFile, `${answer.secret}\n`, { mode: 0o600, flag: 'wx' }).catch(async (error: Error) => {
      // A secret that nobody has is a token that nobody can use.
      await api.admin.revokeToken(
        { namespace, tokenId: made.tokenId, reason: 'its secret was lost' },
        session.bounds(),
      );
      throw new UsageError(`the secret cannot be written, so the token was revoked: ${error.message}`);
    });
    return await done(session, TokenSchema, made, made.tokenId);
  },
});

const revoke = command({
  name: 'revoke',
  about: 'End a token at once.',
  arguments: { token: argument('token', 'Id of the token.') },
  options: { ...REASON, ...YES },
  examples: [['After a leak', 'tailrace tokens revoke 01890a5d-… --reason leaked --yes']],
  async run(session, { token, reason, yes }) {
    if (!(await confirmed(session, yes, `End the token ${token}?`))) return EXIT.refused;
    const asked = fields({ namespace: session.namespace, tokenId: token, reason });
    const made = present((await session.api.admin.revokeToken(asked, session.bounds())).token);
    return await done(session, TokenSchema, made, `token ${made.tokenId} of ${made.name} is revoked`);
  },
});

export const tokens = group('tokens', 'Who may get in, and do what.', [list, create, revoke]);
