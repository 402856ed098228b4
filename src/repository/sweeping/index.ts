/** Upkeep: what time moves, what a process looks at once a second, partitions, vacuum. */
export { extendPartitions, type PartitionsAhead } from './partitions.js';
export { type Behind, type Pulse, readPulse } from './pulse.js';
export { type SweepSubject, type Swept, sweep, TIMED } from './sweep.js';
export { vacuumHotTables } from './vacuum.js';
