/** What breaks each rule about partitions by id, and about what retention carries over. */
export const RETIREMENT_PLANTS: Readonly<Record<string, readonly string[]>> = {
  'partitions-follow': [
    'delete from tailrace.execution_partition where from_ms = (select max(from_ms) from tailrace.execution_partition)' +
      ' - 604800000',
    `update tailrace.execution_partition set to_ms = to_ms + 1
     where from_ms = (select min(from_ms) from tailrace.execution_partition)`,
    `update tailrace.retirement set frontier_ms = frontier_ms + 1 where subject = 'events'`,
  ],
  'kept-ends-at-frontier': [
    `update tailrace.retirement r set frontier_ms = (
       select p.to_ms from tailrace.execution_partition p where p.from_ms = r.frontier_ms) where r.subject = 'executions'`,
    `update tailrace.execution_partition set suffix = 'elsewhere'
     where from_ms = (select max(from_ms) from tailrace.execution_partition)`,
  ],
  'carried-over': [
    'delete from tailrace.event',
    `update tailrace.execution set redrive_of = gen_random_uuid()
     where id = (select execution from tailrace.ready limit 1)`,
    `delete from tailrace.outcome where execution in (select downstream from tailrace.slot where outcome is not null);
     update tailrace.slot set upstream = gen_random_uuid() where outcome is not null`,
  ],
  'letters-keep-their-runs': [
    'delete from tailrace.execution where id in (select execution from tailrace.dead_letter)',
    'update tailrace.dead_letter set last_execution = gen_random_uuid() where last_execution is not null',
  ],
};
