/** Calls: how long they take, how many are under way, why they are refused. */
import type { CallMeters } from '../server/call-meters.js';
import type { Traffic } from '../server/traffic.js';
import type { Family } from './family.js';

export function callFamilies(calls: CallMeters, traffic: Traffic): Family[] {
  return [
    {
      name: 'rpc_server_call_duration_seconds',
      help: 'From the arrival of a call to its end. Claims and fetches that wait, and streams, last as long as they were asked to.',
      type: 'histogram',
      collect: (series) => {
        for (const { system, method, code, times } of calls.times()) {
          series.histogram(times, {
            rpc_system_name: system,
            rpc_method: method,
            rpc_response_status_code: code,
          });
        }
      },
    },
    {
      name: 'tailrace_calls_under_way',
      help: 'Calls that have begun and not ended, streams and waiting claims among them.',
      type: 'gauge',
      collect: (series) => {
        for (const [method, count] of calls.underWay()) series.set(count, { rpc_method: method });
      },
    },
    {
      name: 'tailrace_connections',
      help: 'Connections of clients.',
      type: 'gauge',
      collect: (series) => series.set(traffic.connections.open),
    },
    {
      name: 'tailrace_held_request_bytes',
      help: 'Bytes of request bodies held now, which shedding goes by.',
      type: 'gauge',
      collect: (series) => series.set(traffic.buffered.bytes),
    },
    {
      name: 'tailrace_refusals_total',
      help: 'Whole calls that were refused or given up; why: what was at its limit when one was shed. CANCELED: the client had left. Items refused inside an answer do not count.',
      type: 'counter',
      collect: (series) => {
        for (const [refusal, count] of calls.refusals.entries) {
          const [reason = '', why = ''] = refusal.split('/');
          series.set(count, { reason, why });
        }
      },
    },
  ];
}
