/** EngineService: what clients and workers call. RPCs that are missing here answer UNIMPLEMENTED. */
import type { ServiceImpl } from '@connectrpc/connect';
import type { EngineService } from '../../../gen/tailrace/v1/engine_service_pb.js';
import { releaseUsageCall } from './budgets/release-usage.js';
import { reportUsageCall } from './budgets/report-usage.js';
import { cancelExecutionCall } from './cancel.js';
import { claimExecutionCall, claimExecutionsCall } from './claim.js';
import { completeExecutionsCall } from './complete.js';
import { createExecutionsCall } from './create.js';
import type { EngineServiceDeps } from './deps.js';
import { getEventCall } from './events/get-event.js';
import { publishEventsCall } from './events/publish.js';
import { readStreamCall } from './events/read-stream.js';
import { failExecutionsCall } from './fail.js';
import { cancelFlowCall } from './flows/cancel-flow.js';
import { createFlowCall } from './flows/create-flow.js';
import { extendFlowCall } from './flows/extend-flow.js';
import { sealFlowCall } from './flows/seal-flow.js';
import { waitForChildrenCall } from './flows/wait-for-children.js';
import { appendFramesCall } from './frames/append.js';
import { delayExecutionCall, releaseLeasesCall } from './hand-back.js';
import { renewLeasesCall, reportProgressCall } from './renew.js';
import { createWaitpointCall } from './suspensions/create-waitpoint.js';
import { listMatchedSignalsCall } from './suspensions/list-matched.js';
import { signalExecutionCall } from './suspensions/signal.js';
import { suspendExecutionCall } from './suspensions/suspend.js';
import { heartbeatWorkerCall, unregisterWorkerCall } from './workers.js';

export type { EngineServiceDeps } from './deps.js';
export { Writers } from './writers.js';

export function engineService(deps: EngineServiceDeps): Partial<ServiceImpl<typeof EngineService>> {
  return {
    createExecutions: createExecutionsCall(deps),
    cancelExecution: cancelExecutionCall(deps),
    claimExecutions: claimExecutionsCall(deps),
    claimExecution: claimExecutionCall(deps),
    renewLeases: renewLeasesCall(deps),
    reportProgress: reportProgressCall(deps),
    appendFrames: appendFramesCall(deps),
    releaseLeases: releaseLeasesCall(deps),
    completeExecutions: completeExecutionsCall(deps),
    failExecutions: failExecutionsCall(deps),
    delayExecution: delayExecutionCall(deps),
    waitForChildren: waitForChildrenCall(deps),
    suspendExecution: suspendExecutionCall(deps),
    createWaitpoint: createWaitpointCall(deps),
    signalExecution: signalExecutionCall(deps),
    listMatchedSignals: listMatchedSignalsCall(deps),
    reportUsage: reportUsageCall(deps),
    releaseUsage: releaseUsageCall(deps),
    createFlow: createFlowCall(deps),
    extendFlow: extendFlowCall(deps),
    sealFlow: sealFlowCall(deps),
    cancelFlow: cancelFlowCall(deps),
    publishEvents: publishEventsCall(deps),
    getEvent: getEventCall(deps),
    readStream: readStreamCall(deps),
    heartbeatWorker: heartbeatWorkerCall(deps),
    unregisterWorker: unregisterWorkerCall(deps),
  };
}
