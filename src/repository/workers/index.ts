/** The registry of workers. It says who is there; whether work is alive is for its lease alone. */
export { forgetUnseenWorkers, forgetWorker } from './forget.js';
export { sightWorkers, type WorkerSighting } from './sight.js';
