/** A server that keeps next to nothing, in partitions of a second, so that a test sees many of them go. */
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { readFrontiers } from '../../src/repository/retention/index.js';
import { verify } from '../../src/repository/verification/index.js';
import { eventually } from './eventually.js';
import type { TestTailrace } from './tailrace.js';

/** As the environment would give them. */
export const KEEPS_LITTLE = {
  TAILRACE_RETENTION: '1s',
  TAILRACE_LEAST_RETENTION: '1s',
  TAILRACE_PARTITION_WIDTH: '1s',
} as const;

type Served = Pick<TestTailrace, 'admin' | 'running'>;

/** Up to where partitions of executions, and of events, have gone, in milliseconds since 1970. */
export async function frontiers({
  running,
}: Served): Promise<{ readonly executions: number; readonly events: number }> {
  const { executions, events } = await readFrontiers(running.engine.database);
  if (executions === undefined || events === undefined) throw new Error('no floors are told');
  return { executions: executions.getTime(), events: events.getTime() };
}

/** When the partitions of everything made so far have gone, and so many after them. */
export async function drops(tailrace: Served, count = 3): Promise<void> {
  const { serverTime } = await tailrace.admin.getServerInfo({});
  if (serverTime === undefined) throw new Error('the server tells no time');
  const until = timestampMs(serverTime) + count * 1_000;
  await eventually(async () => {
    const { executions, events } = await frontiers(tailrace);
    return Math.min(executions, events) >= until;
  }, 60_000);
}

/** What breaks a rule. */
export async function broken({ running }: Pick<TestTailrace, 'running'>): Promise<string[]> {
  const rules = await verify(running.engine.database);
  return rules.flatMap(({ name, violations }) => (violations.length > 0 ? [`${name}: ${violations.join(', ')}`] : []));
}
