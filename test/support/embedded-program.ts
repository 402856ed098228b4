/** A process with an embedded Postgres on the directory it is given; says the address, then waits to be ended. */
import { startEmbedded } from '../../src/embedded/index.js';

const { url } = await startEmbedded({ directory: process.argv[2] });
console.log(url);
