/** DeadLetterService: what gave up, and what people do about it. RPCs that are missing here answer UNIMPLEMENTED. */
import type { ServiceImpl } from '@connectrpc/connect';
import type { DeadLetterService } from '../../../gen/tailrace/v1/dead_letter_service_pb.js';
import type { DeadLetterServiceDeps } from './deps.js';
import { countDeadLettersCall, getDeadLetterCall, listDeadLettersCall } from './read.js';
import { redriveDeadLetterCall } from './redrive.js';
import { resolveDeadLettersCall } from './resolve.js';

export type { DeadLetterServiceDeps } from './deps.js';

export function deadLetterService(deps: DeadLetterServiceDeps): Partial<ServiceImpl<typeof DeadLetterService>> {
  return {
    getDeadLetter: getDeadLetterCall(deps),
    listDeadLetters: listDeadLettersCall(deps),
    countDeadLetters: countDeadLettersCall(deps),
    redriveDeadLetter: redriveDeadLetterCall(deps),
    resolveDeadLetters: resolveDeadLettersCall(deps),
  };
}
