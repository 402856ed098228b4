/** The registry of workers. It says who is there; whether work is alive is for its lease alone. */
export { drainWorkers, type WorkerDrain } from './drain.js';
export { forgetUnseenWorkers, forgetWorker } from './forget.js';
export { listWorkers, STALE_MS, type WorkerPage, type WorkerRow } from './list.js';
export { sightWorkers, type WorkerSighting } from './sight.js';
