/** Lanes: what they hold and what operators set on them. What a process remembers of them is in the registry. */
export {
  changeLane,
  type KeyLimit,
  type LaneChange,
  type LaneChangeAnswer,
  type LanePatch,
  type QuotaPatch,
} from './change.js';
export { type LaneList, type LanePage, type LaneRow, listLanes, readLane } from './list.js';
