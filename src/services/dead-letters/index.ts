/** DeadLetterService: what gave up, and what people do about it. RPCs that are missing here answer UNIMPLEMENTED. */
import type { ServiceImpl } from '@connectrpc/connect';
import type { DeadLetterService } from '../../../gen/tailrace/v1/dead_letter_service_pb.js';
import type { DeadLetterServiceDeps } from './deps.js';
import { purgeDeadLettersCall } from './purge.js';
import { countDeadLettersCall, getDeadLetterCall, listDeadLettersCall } from './read.js';
import { redriveDeadLetterCall } from './redrive.js';
import { getRedriveCall, stopRedriveCall } from './redrives.js';
import { reopenDeadLetterCall } from './reopen.js';
import { resolveDeadLettersCall } from './resolve.js';
import { startRedriveCall } from './start-redrive.js';
import { getDeadLetterStatsCall, listDeadLetterGroupsCall } from './stats.js';

export type { DeadLetterServiceDeps } from './deps.js';

export function deadLetterService(deps: DeadLetterServiceDeps): Partial<ServiceImpl<typeof DeadLetterService>> {
  return {
    getDeadLetter: getDeadLetterCall(deps),
    listDeadLetters: listDeadLettersCall(deps),
    countDeadLetters: countDeadLettersCall(deps),
    redriveDeadLetter: redriveDeadLetterCall(deps),
    resolveDeadLetters: resolveDeadLettersCall(deps),
    startRedrive: startRedriveCall(deps),
    getRedrive: getRedriveCall(deps),
    stopRedrive: stopRedriveCall(deps),
    reopenDeadLetter: reopenDeadLetterCall(deps),
    purgeDeadLetters: purgeDeadLettersCall(deps),
    getDeadLetterStats: getDeadLetterStatsCall(deps),
    listDeadLetterGroups: listDeadLetterGroupsCall(deps),
  };
}
