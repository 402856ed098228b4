/** What every event has, whoever publishes it: clients, or executions with their outcome. */
import { counter, headers, integer, name, optionalName, payload, refuse, tags, timestamp } from '../../validation.js';

const MAX_SCHEMA_VERSION = 2_147_483_647;

export function eventFields(maxPayloadBytes: number) {
  return {
    type: name(),
    payload: payload(maxPayloadBytes),
    stream: optionalName(),
    expectedStreamVersion: counter.optional(),
    batchGroup: optionalName(),
    tags,
    schemaVersion: integer(0, MAX_SCHEMA_VERSION),
    headers,
    occurTime: timestamp,
  };
}

interface Expecting {
  readonly stream: string | null;
  readonly expectedStreamVersion?: bigint | undefined;
}

/** An expectation is of a stream. */
export function refuseExpectation({ issues, value }: { issues: Parameters<typeof refuse>[0]; value: Expecting }): void {
  const { stream, expectedStreamVersion } = value;
  if (stream !== null || expectedStreamVersion === undefined) return;
  refuse(issues, expectedStreamVersion, 'must be absent: there is no stream', ['expectedStreamVersion']);
}
