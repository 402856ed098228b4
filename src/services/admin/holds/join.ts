/** The join that an execution waits for: over its edges, its children, or a batch of events. */
import { HoldKind } from '../../../../gen/tailrace/v1/explain_pb.js';
import { JoinKind, JoinMode, OnJoinTimeout } from '../../../../gen/tailrace/v1/join_pb.js';
import { ExecutionState, stateName } from '../../../domain/states.js';
import type { WaitRow } from '../../../repository/flows/index.js';
import type { ExecutionRow } from '../../../repository/inspection/index.js';
import { toTimestamp } from '../../conversion/times.js';
import type { Hold } from './hold.js';

export function joinHold(row: ExecutionRow, wait: WaitRow): Hold {
  const ofChildren = row.state === ExecutionState.WAITING_CHILDREN;
  const slots = ofChildren ? 'children' : 'slots';
  const filled = `${wait.filled} of ${wait.slots} ${slots} ${ofChildren ? 'have ended' : 'are filled'}`;
  const ofBatch = wait.kind === JoinKind.BATCH;
  const missing = wait.missing.map(({ name, upstream, state }) =>
    ofBatch ? name : `${name} (${upstream}, ${state === null ? 'gone' : stateName(state)})`,
  );
  const more = wait.slots - wait.filled - missing.length;
  const named = more > 0 ? [...missing, `${more} more`] : missing;
  const open = wait.sealed ? '' : ' Slots may still be added.';
  const expires = wait.expires_at
    ? ` Its time is up at ${wait.expires_at.toISOString()}; then it ${atTimeout(wait)}.`
    : '';
  return {
    kind: ofChildren ? HoldKind.CHILDREN : HoldKind.JOIN,
    subject: wait.id,
    message:
      `It waits for ${wanted(wait, ofChildren ? 'children' : ofBatch ? 'places of its batch' : 'upstreams')}: ${filled}` +
      `${named.length > 0 ? `; missing: ${named.join(', ')}` : ''}.${open}${expires}`,
    ...(wait.expires_at && { untilTime: toTimestamp(wait.expires_at) }),
  };
}

function wanted({ mode, quorum, distinct_sources: distinct }: WaitRow, what: string): string {
  if (mode === JoinMode.ALL) return `all of its ${what}`;
  const source = distinct ? ' of distinct sources' : '';
  return mode === JoinMode.ANY ? `one success of its ${what}` : `${quorum} successes${source} of its ${what}`;
}

function atTimeout(wait: WaitRow): string {
  return wait.on_timeout === OnJoinTimeout.RELEASE_PARTIAL ? 'goes on with those that are there' : 'fails';
}
