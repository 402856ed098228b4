/** Lanes: what they hold and what operators set on them. What a process remembers of them is in the registry. */
export { changeLane, type LaneChange, type LaneChangeAnswer, type LanePatch } from './change.js';
export { type LanePage, type LaneRow, listLanes, readLane } from './list.js';
