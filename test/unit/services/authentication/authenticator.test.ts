/** What a process remembers of secrets, and for how long. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Authenticator, hashOf, makeSecret, tokenIdIn } from '../../../../src/services/authentication/index.js';
import type { Caller } from '../../../../src/services/caller.js';

interface Row {
  readonly id: string;
  readonly name: string;
  readonly namespace: string | null;
  readonly roles: number[];
  readonly hash: Buffer;
  readonly left_ms: number | null;
}

const { id, text: secret } = makeSecret();

let rows: Row[];
let lookups: string[][];
let uses: string[][];
let registry: { version: bigint; confirmedMs: number };
let authenticator: Authenticator;
let failing: boolean;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] });
  rows = [{ id, name: 'one', namespace: null, roles: [1], hash: hashOf(secret), left_ms: null }];
  [lookups, uses, failing] = [[], [], false];
  registry = { version: 1n, confirmedMs: performance.now() };
  authenticator = new Authenticator({
    runner: {
      query: async (made: { name: string }, [ids]: readonly unknown[] = []) => {
        if (made.name === 'tokens.use') uses.push(ids as string[]);
        if (made.name !== 'tokens.lookup') return [];
        lookups.push(ids as string[]);
        await Promise.resolve();
        if (failing) throw new Error('away');
        return rows.filter((row) => (ids as string[]).includes(row.id)) as never[];
      },
    },
    registry,
    onError: () => undefined,
  });
});
afterEach(() => void vi.useRealTimers());

/** Time passes, and a pulse has just confirmed the version. */
function later(ms: number): void {
  vi.advanceTimersByTime(ms);
  registry.confirmedMs = performance.now();
}

const known = (text = secret) => authenticator.callerOf(text);

describe('a secret', () => {
  test('is looked up once, and then answered at once', async () => {
    expect(known()).toBeInstanceOf(Promise);
    expect(await known()).toMatchObject({ name: 'one', namespace: '*', tokenId: id });
    for (let i = 0; i < 100; i++) {
      expect(known()).not.toBeInstanceOf(Promise);
      later(1_000);
    }
    expect(lookups).toHaveLength(1);
  });

  test('is looked up again when something has changed, which ends what was remembered', async () => {
    await known();
    rows = [];
    expect((known() as Caller).name).toBe('one');
    registry.version++;
    expect(await known()).toBeUndefined();
  });

  test('that was read before a change is not remembered after it', async () => {
    const reading = known();
    await Promise.resolve();
    registry.version++;
    await reading;
    expect(known()).toBeInstanceOf(Promise);
  });

  test('is looked up again when nobody could confirm for 4 s that nothing has changed', async () => {
    await known();
    vi.advanceTimersByTime(3_900);
    expect(known()).not.toBeInstanceOf(Promise);
    vi.advanceTimersByTime(200);
    failing = true;
    await expect(known()).rejects.toThrow('away');
  });

  test('ends with its time, whatever is remembered', async () => {
    rows = rows.map((row) => ({ ...row, left_ms: 2_500 }));
    await known();
    later(2_400);
    expect(known()).not.toBeInstanceOf(Promise);
    later(200);
    rows = [];
    expect(await known()).toBeUndefined();
  });

  test('that nobody has is remembered as such for a while', async () => {
    const stranger = makeSecret().text;
    expect(await known(stranger)).toBeUndefined();
    expect(known(stranger)).toBeUndefined();
    later(4_100);
    expect(await known(stranger)).toBeUndefined();
    expect(lookups).toHaveLength(2);
  });

  test('with the right id and another rest is nobody’s', async () => {
    const forged = `${secret.slice(0, 26)}${makeSecret().text.slice(26)}`;
    expect(tokenIdIn(forged)).toBe(id);
    expect(await known(forged)).toBeUndefined();
    expect(await known()).toBeDefined();
  });

  test('that is none costs nothing', () => {
    for (const text of ['', 'tr_', `${secret}x`, secret.toUpperCase(), ` ${secret}`])
      expect(known(text)).toBeUndefined();
    expect(lookups).toEqual([]);
  });
});

test('a flood of secrets has one statement under way', async () => {
  const flood = Array.from({ length: 1_200 }, () => authenticator.callerOf(makeSecret().text));
  expect(await Promise.all(flood)).toEqual(flood.map(() => undefined));
  expect(lookups.map(({ length }) => length)).toEqual([500, 500, 200]);
});

test('uses are told once a minute', async () => {
  await known();
  for (let i = 0; i < 10; i++) await known();
  later(1_100);
  await known();
  later(30_000);
  await known();
  later(1_100);
  expect(uses).toEqual([[id]]);
  later(30_000);
  await known();
  later(1_100);
  expect(uses).toEqual([[id], [id]]);
});
