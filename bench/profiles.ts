/** The conditions under which the same table is measured: what a disk, or somebody else's transaction, does to it. */

export const PROFILES = {
  plain: 'an empty schema, never analysed by us, commits as fast as this disk makes them',
  'slow-commit': 'the same with commits of 2 ms (commit_delay), as on a replicated or a cloud disk',
  'held-snapshot': 'the same with one snapshot held open, so that no dead row can be removed',
} as const;

export type Profile = keyof typeof PROFILES;

export function isProfile(name: string): name is Profile {
  return name in PROFILES;
}
