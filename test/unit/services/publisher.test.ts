/** Publishing calls that share a transaction, seen from beside the database. */
import { describe, expect, it } from 'vitest';
import type { AfterCommit } from '../../../src/dispatch/after-commit.js';
import type { Database } from '../../../src/repository/database.js';
import type { NewEvent } from '../../../src/repository/events/index.js';
import { Publisher } from '../../../src/services/engine/events/publisher.js';

const EVENT: NewEvent = {
  namespace: 1,
  eventId: null,
  madeMs: null,
  hash: Buffer.alloc(0),
  type: 'happened',
  stream: null,
  expectedVersion: null,
  flow: null,
  newFlow: '0198a0a0-0000-7000-8000-000000000001',
  cause: null,
  causeAt: null,
  batch: null,
  unit: 0,
  schemaVersion: 0,
  tags: {},
  headers: {},
  occurredAt: null,
  payload: null,
};
const SILENT: AfterCommit = { queued() {}, freed() {}, due() {}, appended() {}, committed() {} };
/** Place of p_most among the parameters. */
const MOST = 27;

/** `refuses`: the code that a statement fails with which starts so many reactions. */
function publisherOver(refuses: (most: number) => string | undefined) {
  const asked: number[] = [];
  const query = async (_: unknown, values: readonly unknown[]) => {
    const most = values[MOST] as number;
    asked.push(most);
    const code = refuses(most);
    if (code !== undefined) throw Object.assign(new Error('refused'), { code });
    return [{ verdict: 'published' }];
  };
  return { asked, publisher: new Publisher({ query } as unknown as Database, SILENT, 1_000) };
}

describe('Publisher', () => {
  it('stores events whose reactions cannot be, and leaves these to the router', async () => {
    for (const code of ['22003', '23514']) {
      const { asked, publisher } = publisherOver((most) => (most > 0 ? code : undefined));
      expect(await publisher.publish([EVENT])).toMatchObject([{ verdict: 'published' }]);
      expect(asked).toEqual([8, 0]);
    }
  });

  it('says when it is the event that cannot be stored, or the database that is away', async () => {
    const { asked, publisher } = publisherOver(() => '22003');
    await expect(publisher.publish([EVENT])).rejects.toMatchObject({ code: '22003' });
    expect(asked).toEqual([8, 0]);
    const away = publisherOver(() => '53300');
    await expect(away.publisher.publish([EVENT])).rejects.toMatchObject({ code: '53300' });
    expect(away.asked).toEqual([8]);
  });

  it('starts no reactions with more than a thousand events', async () => {
    const { asked, publisher } = publisherOver(() => undefined);
    await publisher.publish(Array.from({ length: 1_001 }, () => EVENT));
    expect(asked).toEqual([0]);
  });
});
