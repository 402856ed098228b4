/**
 * Which server a command talks to, as whom, and in which namespace: flags, a profile chosen by a flag, the environment, the
 * profile in use, in this order.
 *
 * A secret stays with its server: the token of a profile is never sent to an address that comes from elsewhere, and the
 * environment says nothing to a command that names its profile.
 */
import { readFile } from 'node:fs/promises';
import type { ClientSettings } from '../config/client.js';
import { nearest } from '../domain/nearest.js';
import { type Profile, ProfileFile } from './profile-file.js';
import { UsageError } from './usage-error.js';

/** What every command takes about its connection. */
export interface AccessFlags {
  readonly url?: string;
  readonly namespace?: string;
  readonly tokenFile?: string;
  readonly profile?: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

export interface Access {
  readonly url: string;
  readonly namespace: string;
  readonly token: string | undefined;
  /** PEM. */
  readonly tls: { readonly ca?: Buffer; readonly cert?: Buffer; readonly key?: Buffer };
}

const DEFAULT_URL = 'http://127.0.0.1:8233';

export async function accessOf(flags: AccessFlags, settings: ClientSettings): Promise<Access> {
  const profile = await chosen(flags, settings);
  const variables = flags.profile === undefined ? settings : undefined;
  const url = flags.url ?? variables?.url ?? profile.url ?? DEFAULT_URL;
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new UsageError(`the address of the server must be such as http://127.0.0.1:8233; it is "${url}"`);
  }
  const own = url === profile.url ? profile : {};
  const [ca, cert, key] = await Promise.all(
    (['ca', 'cert', 'key'] as const).map((name) => pem(name, flags[name] ?? own[name])),
  );
  if (!cert !== !key) throw new UsageError('--cert and --key need each other');
  if ((ca || cert) && url.startsWith('http:')) throw new UsageError('--ca, --cert and --key need an https address');
  return {
    url,
    namespace: flags.namespace ?? variables?.namespace ?? profile.namespace ?? '',
    token: await token(flags, variables, own, settings),
    tls: { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) },
  };
}

async function chosen(flags: AccessFlags, settings: ClientSettings): Promise<Profile> {
  const file = new ProfileFile(settings.directory);
  const { current, profiles } = await file.read();
  const name = flags.profile ?? settings.profile ?? current;
  if (name === undefined) return {};
  const found = Object.hasOwn(profiles, name) ? profiles[name] : undefined;
  if (found) return found;
  const near = nearest(name, Object.keys(profiles));
  throw new UsageError(
    `there is no profile "${name}"${near ? `; did you mean ${near}?` : `: tailrace profile add ${name} makes one`}`,
  );
}

async function token(
  flags: AccessFlags,
  variables: ClientSettings | undefined,
  profile: Profile,
  settings: ClientSettings,
): Promise<string | undefined> {
  if (flags.tokenFile !== undefined) return await secretIn(flags.tokenFile);
  if (variables?.token !== undefined) return variables.token;
  if (variables?.tokenFile !== undefined) return await secretIn(variables.tokenFile);
  if (profile.tokenFile !== undefined) return await secretIn(profile.tokenFile);
  if (profile.tokenVariable === undefined) return profile.token;
  const found = settings.variable(profile.tokenVariable);
  if (found === undefined)
    throw new UsageError(`the profile takes its token from ${profile.tokenVariable}, which is not set`);
  return found;
}

async function secretIn(path: string): Promise<string> {
  const secret = (await content('the token', path)).toString('utf8').trim();
  if (secret === '' || /\s/.test(secret)) throw new UsageError(`${path} does not hold the secret of a token`);
  return secret;
}

async function pem(name: string, path: string | undefined): Promise<Buffer | undefined> {
  return path === undefined ? undefined : await content(`--${name}`, path);
}

async function content(what: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new UsageError(`${what} cannot be read: ${(error as Error).message}`);
  }
}
