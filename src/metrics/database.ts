/** Statements, the pool of connections, and the batches that single writes share. */
import type { GroupMeter } from '../batching/group-commit.js';
import type { Database } from '../repository/database.js';
import type { Family } from './family.js';

export function databaseFamilies(database: Database, groups: readonly GroupMeter[]): Family[] {
  return [
    {
      name: 'db_client_operation_duration_seconds',
      help: 'From asking for a statement to its answer, waiting for a connection included, by the name of the statement.',
      type: 'histogram',
      collect: (series) => {
        for (const { name, times } of database.meters) series.histogram(times, { db_query_summary: name });
      },
    },
    {
      name: 'tailrace_statement_errors_total',
      help: 'Statements that failed, those that were sent again among them, by class of SQLSTATE; lost: without an answer.',
      type: 'counter',
      collect: (series) => {
        for (const { name, errors } of database.meters) {
          for (const [sqlstate, count] of errors.entries) {
            series.set(count, { db_query_summary: name, sqlstate_class: sqlstate });
          }
        }
      },
    },
    {
      name: 'db_client_connection_count',
      help: 'Connections of the pool.',
      type: 'gauge',
      collect: (series) => {
        const { used, idle } = database.connections;
        series.set(used, { db_client_connection_state: 'used' });
        series.set(idle, { db_client_connection_state: 'idle' });
      },
    },
    {
      name: 'db_client_connection_max',
      help: 'Connections that the pool may have.',
      type: 'gauge',
      collect: (series) => series.set(database.connections.most),
    },
    {
      name: 'db_client_connection_pending_requests',
      help: 'Statements that wait for a connection now.',
      type: 'gauge',
      collect: (series) => series.set(database.connections.waiting),
    },
    {
      name: 'tailrace_connection_waits_total',
      help: 'Times that all connections were in use when another one was asked for.',
      type: 'counter',
      collect: (series) => series.set(database.waits),
    },
    {
      name: 'tailrace_group_commit_items',
      help: 'Items in one grouped write, which is one transaction.',
      type: 'histogram',
      collect: (series) => {
        for (const { name, batches } of groups) series.histogram(batches, { call: name });
      },
    },
    {
      name: 'tailrace_group_commit_waiting',
      help: 'Items that wait for the next grouped write now.',
      type: 'gauge',
      collect: (series) => {
        for (const { name, waiting } of groups) series.set(waiting, { call: name });
      },
    },
  ];
}
