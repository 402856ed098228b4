/** What the guards have to know of the settings. */
import { type Config, isLoopback } from './config.js';
import type { Setup } from './guards/index.js';

export function setupOf(config: Config, secretsKey: boolean, dataDirectory: string | undefined): Setup {
  return {
    poolConnections: config.databaseConnections,
    clientConnections: config.traffic.port.connections,
    partitionMs: config.partitionMs,
    anonymous: config.anonymous,
    loopback: isLoopback(config.host),
    secretsKey,
    certificate: config.tls?.cert,
    dataDirectory,
  };
}
