import { describe, expect, test } from 'vitest';
import { Standing } from '../../../src/loops/standing.js';
import { wallMs } from '../../../src/runtime/clock.js';
import { Readiness } from '../../../src/runtime/readiness.js';

const FACTS = { schema_version: 50 as number | null, database_version: '18', lag_ms: null as number | null };

function stand() {
  const readiness = new Readiness(['schema', 'sequencer', 'clock']);
  const said = { facts: FACTS, skewMs: 0, refusal: '', checks: 0 };
  const standing = new Standing({
    read: async () => ({ ...said.facts, now: new Date(wallMs() - said.skewMs) }),
    checkSchema: async () => {
      said.checks++;
      if (said.refusal !== '') throw new Error(said.refusal);
    },
    readiness,
    onError: () => undefined,
  });
  return { readiness, said, standing };
}

describe('how a process stands to its database', () => {
  test('all is well', async () => {
    const { readiness, said, standing } = stand();
    expect(await standing.look()).toBe(true);
    expect(readiness.parts()).toEqual({
      schema: { ready: true, note: 'version 50' },
      sequencer: { ready: true, note: '' },
      clock: { ready: true, note: '' },
    });
    // What the process was started on was checked before.
    expect(said.checks).toBe(0);
  });

  test('a schema that changes under it is checked once, or until it fits again', async () => {
    const { readiness, said, standing } = stand();
    await standing.look();
    said.facts = { ...FACTS, schema_version: 51 };
    expect([await standing.look(), await standing.look(), said.checks]).toEqual([true, true, 1]);
    said.facts = { ...FACTS, schema_version: 52 };
    said.refusal = 'upgrade this server';
    expect([await standing.look(), await standing.look(), said.checks]).toEqual([false, false, 3]);
    expect(readiness.parts()['schema']).toEqual({ ready: false, note: 'upgrade this server' });
    said.refusal = '';
    expect(await standing.look()).toBe(true);
    expect(readiness.ready).toBe(true);
  });

  test('entries without a position make it not ready from half a minute on', async () => {
    const { readiness, said, standing } = stand();
    said.facts = { ...FACTS, lag_ms: 29_000 };
    expect(await standing.look()).toBe(true);
    said.facts = { ...FACTS, lag_ms: 31_000 };
    expect(await standing.look()).toBe(false);
    expect(readiness.parts()['sequencer']).toEqual({
      ready: false,
      note: 'entries of the log have waited 31 s for their positions',
    });
  });

  test.each([
    [400, true, ''],
    [3_000, true, "3 s ahead of the database's clock"],
    [-3_000, true, "3 s behind the database's clock"],
    [-600_000, false, "600 s behind the database's clock"],
  ])('a clock that is %i ms ahead', async (skewMs, ready, note) => {
    const { readiness, said, standing } = stand();
    said.skewMs = skewMs;
    expect(await standing.look()).toBe(ready);
    expect(readiness.parts()['clock']).toEqual({ ready, note });
    expect(Math.abs((standing.skewMs ?? 0) - skewMs)).toBeLessThan(200);
  });
});
