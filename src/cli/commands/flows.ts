/** `tailrace flows …` */
import { group } from '../command.js';
import { flowTree } from './flow-tree.js';
import { listEdges, listFlowMembers, listJoins } from './flows-inside.js';
import { getFlow, listFailedFlows, listFlows } from './flows-read.js';
import { cancelFlow, sealFlow } from './flows-steer.js';
import { watchFlow } from './flows-watch.js';

export const flows = group('flows', 'Look at flows: members, edges, joins, causes; cancel and seal them.', [
  listFlows,
  getFlow,
  flowTree,
  listFlowMembers,
  listEdges,
  listJoins,
  listFailedFlows,
  watchFlow,
  cancelFlow,
  sealFlow,
]);
