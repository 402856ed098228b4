/**
 * Which roles may call what: one row per RPC of the four services, in the order of the contract, whose comments say the
 * same (a test compares them). An RPC that is missing here does not compile. ADMIN may call everything and is not listed.
 *
 * What each role is for:
 *   CLIENT    brings work in and waits for it. It reads what its own work comes to, so that it can be named and awaited
 *             by id: executions, flows, events, streams, output. It does not browse: lists, letters, lanes and settings
 *             are for people.
 *   WORKER    takes work and tells how it went, and follows the log as a consumer. It reads what its handlers are given
 *             by reference: results and events too large to be handed over.
 *   OBSERVER  reads everything, tokens excepted, and changes nothing.
 *   OPERATOR  reads everything and changes how things run; it creates no work of its own.
 */
import type { DescMethod, DescService } from '@bufbuild/protobuf';
import { AdminService } from '../../gen/tailrace/v1/admin_service_pb.js';
import { CompletionService } from '../../gen/tailrace/v1/completion_service_pb.js';
import { DeadLetterService } from '../../gen/tailrace/v1/dead_letter_service_pb.js';
import { EngineService } from '../../gen/tailrace/v1/engine_service_pb.js';
import { Role } from './caller.js';

export interface Access {
  readonly roles: readonly Role[];
  /** These only when the request carries a lease, which proves that the execution is theirs. */
  readonly withLease?: readonly Role[];
  /** It is about the whole installation: only for those who are bound to no namespace. */
  readonly everywhere?: true;
}

type Table<S extends DescService> = { readonly [Method in keyof S['method']]: Access };

const { CLIENT, WORKER, OBSERVER, OPERATOR } = Role;

const bringing: Access = { roles: [CLIENT] };
const stopping: Access = { roles: [CLIENT, OPERATOR] };
const working: Access = { roles: [WORKER] };
const reading: Access = { roles: [OBSERVER, OPERATOR] };
/** What a client needs to see of its own work. */
const following: Access = { roles: [CLIENT, OBSERVER, OPERATOR] };
/** What handlers are given by reference as well. */
const lookingUp: Access = { roles: [CLIENT, WORKER, OBSERVER, OPERATOR] };
const operating: Access = { roles: [OPERATOR] };
const administering: Access = { roles: [] };

const ENGINE: Table<typeof EngineService> = {
  createExecutions: bringing,
  // A worker stops its own execution and no other.
  cancelExecution: { ...stopping, withLease: [WORKER] },
  claimExecutions: working,
  claimExecution: working,
  renewLeases: working,
  releaseLeases: working,
  completeExecutions: working,
  failExecutions: working,
  delayExecution: working,
  reportProgress: working,
  heartbeatWorker: working,
  unregisterWorker: working,
  createFlow: bringing,
  // A running member extends its own flow.
  extendFlow: { ...bringing, withLease: [WORKER] },
  sealFlow: bringing,
  cancelFlow: stopping,
  publishEvents: bringing,
  getEvent: lookingUp,
  // A publisher needs the version that it expects.
  readStream: following,
  suspendExecution: working,
  waitForChildren: working,
  createWaitpoint: working,
  // Also with a waitpoint's token: that says which one may be signaled, not who may call.
  signalExecution: stopping,
  listMatchedSignals: working,
  appendFrames: working,
  reportUsage: working,
  releaseUsage: working,
};

const COMPLETION: Table<typeof CompletionService> = {
  watchCompletions: following,
  // There is one log. A client follows the events it reacts to; a worker is told by it when its consumer has something
  // to do. Both see payloads of the namespace anyway, so a filter per role would hide names of people and little else.
  watchLog: lookingUp,
  awaitExecutions: following,
  watchFlow: following,
  awaitFlow: following,
  // Who has written wants to read it from a projection.
  awaitConsumer: following,
  // Output is streamed to those who asked for the work.
  tailFrames: following,
  readFrames: following,
  getFrameSummary: following,
  acquireConsumer: working,
  fetchEntries: working,
  commitEntries: working,
  failEntry: working,
  releaseConsumer: working,
};

const DEAD_LETTERS: Table<typeof DeadLetterService> = {
  getDeadLetter: reading,
  listDeadLetters: reading,
  countDeadLetters: reading,
  redriveDeadLetter: operating,
  resolveDeadLetters: operating,
  getDeadLetterStats: reading,
  listDeadLetterGroups: reading,
  startRedrive: operating,
  getRedrive: reading,
  stopRedrive: operating,
  reopenDeadLetter: operating,
  // What is deleted cannot be brought back.
  purgeDeadLetters: administering,
};

const ADMIN: Table<typeof AdminService> = {
  // The way to results that are too large for an entry, by the id that whoever created it was given.
  getExecution: lookingUp,
  listExecutions: reading,
  listAttempts: reading,
  explainExecution: reading,
  getLane: reading,
  listLanes: reading,
  listWorkers: reading,
  listLogEntries: reading,
  getStats: reading,
  // Everybody may ask who the server takes them for, and what it permits.
  getServerInfo: lookingUp,
  // Sizes of tables tell of all namespaces.
  getStorage: { ...operating, everywhere: true },
  updateLane: operating,
  pauseLane: operating,
  resumeLane: operating,
  revokeLease: operating,
  changeExecution: operating,
  drainWorker: operating,
  // As GetExecution.
  getFlow: following,
  listFlows: reading,
  listFlowMembers: reading,
  listEdges: reading,
  listJoins: reading,
  getFlowTree: reading,
  listFailedFlows: reading,
  listSuspendedExecutions: reading,
  listPendingWaitpoints: reading,
  getSubscription: reading,
  listSubscriptions: reading,
  // A worker asks how the consumer that it follows as is split.
  getConsumer: { roles: [WORKER, OBSERVER, OPERATOR] },
  listConsumers: reading,
  getBudget: reading,
  listBudgets: reading,
  listQuotas: reading,
  listNamespaces: reading,
  // Who holds which rights is a map for attackers.
  listTokens: administering,
  listEvents: reading,
  resumeExecution: operating,
  putSubscription: operating,
  deleteSubscription: operating,
  putConsumer: operating,
  pauseConsumer: operating,
  resumeConsumer: operating,
  resetConsumer: operating,
  rebuildConsumer: operating,
  promoteConsumer: operating,
  putBudget: operating,
  resetBudget: operating,
  putQuota: operating,
  rotateWaitpointSecret: administering,
  putNamespace: administering,
  createToken: administering,
  revokeToken: administering,
  runRetention: administering,
};

const BY_METHOD: ReadonlyMap<DescMethod, Access> = new Map<DescMethod, Access>([
  ...rows(EngineService, ENGINE),
  ...rows(CompletionService, COMPLETION),
  ...rows(DeadLetterService, DEAD_LETTERS),
  ...rows(AdminService, ADMIN),
]);

/** Undefined for what is open to everybody: health and reflection, which show the contract and nothing else. */
export function accessTo(method: DescMethod): Access | undefined {
  return BY_METHOD.get(method);
}

export function mayCall(roles: ReadonlySet<Role>, access: Access, hasLease: boolean): boolean {
  return (
    roles.has(Role.ADMIN) ||
    access.roles.some((role) => roles.has(role)) ||
    (hasLease && access.withLease?.some((role) => roles.has(role)) === true)
  );
}

/** As people write them. */
export function roleNames(roles: readonly Role[]): string[] {
  return roles.map((role) => (Role[role] ?? 'unknown').toLowerCase());
}

function rows(service: DescService, table: Readonly<Record<string, Access>>): [DescMethod, Access][] {
  return service.methods.flatMap((method): [DescMethod, Access][] => {
    const access = table[method.localName];
    return access ? [[method, access]] : [];
  });
}
