/** P12: how much more two servers do than one on the same database. */
import { rawTailrace } from '../peers/tailrace-raw.js';
import type { Measure } from './measure.js';
import { THROUGHPUT_COLUMNS, throughputs } from './throughput.js';

/** As many for one server as for two, or the second one's would be the gain. */
const CLIENTS = 2;

export const ONE_SERVER = 'one server';
export const TWO_SERVERS = 'two servers';

const one = rawTailrace({ name: ONE_SERVER, servers: 1, clients: CLIENTS });
const two = rawTailrace({ name: TWO_SERVERS, servers: 2, clients: CLIENTS });

export const p12: Measure = {
  id: 'P12',
  title: 'two servers instead of one, executions per second',
  about:
    'The load of P1 by two sets of the generated clients, each with a connection and 4 claiming loops of its own: both at one server, or ' +
    'each at its own, in processes on one database. Creating calls alternate; one completion stream sees every end. A second ' +
    'server needs cores that the first, the clients and Postgres leave: on two cores there is nothing to gain, and what is looked ' +
    'for is that nothing is lost.',
  columns: THROUGHPUT_COLUMNS,
  ratio: { column: 'perSecond', title: '× one' },
  everyProfile: true,
  // In turns, so that what else the machine does hits both alike.
  run: (context) => throughputs([one, two, two, one], context),
};
