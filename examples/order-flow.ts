/**
 * An order that nobody directs: every service hears what happened and says what it did, and none knows another.
 *
 * Placing an order asks for its parts as one batch; shipping joins them. What cannot be shipped is declared to publish
 * `shipping.refused` when its handler gives up, and whoever did something for the order undoes it. All events of an order
 * share a flow; it is settled when nothing of it is left to be done. Prints the tree of what caused what.
 */
import { z } from 'zod';
import { Client, ExecutionState, FlowState } from '../src/client/index.js';
import { PermanentError, Worker } from '../src/worker/index.js';

const url = process.env['TAILRACE_URL'] ?? 'http://127.0.0.1:8233';

const order = z.object({ order: z.string(), cents: z.int().positive(), to: z.string() });
/** What may be published, and what it looks like: a misspelled type or payload does not compile. */
const events = {
  'order.placed': order,
  'payment.requested': order,
  'stock.requested': order,
  'order.prepared': order.extend({ part: z.enum(['payment', 'stock']) }),
  'order.shipped': z.object({ parts: z.int() }),
  'shipping.refused': z.object({ message: z.string() }), // of the engine's description of the failure
  'payment.refunded': z.object({ cents: z.int() }),
  'stock.released': z.object({ order: z.string() }),
};
const options = { url, events, drainMs: 2_000 };

const orders = new Worker({ ...options, lanes: ['orders'] });
orders.on('order.placed', ({ payload }, ctx) => {
  ctx.emitBatch([
    { type: 'payment.requested', payload },
    { type: 'stock.requested', payload },
  ]);
});

/** What a service remembers of an order it keeps by the flow. In earnest these are tables, written before the handler returns. */
const charged = new Map<string, number>();
const payment = new Worker({ ...options, lanes: ['payment'] });
payment.on('payment.requested', ({ payload, flowId }) => {
  charged.set(flowId, payload.cents);
  return { type: 'order.prepared', payload: { ...payload, part: 'payment' } };
});
payment.on('shipping.refused', ({ flowId }) => {
  const cents = charged.get(flowId);
  return cents === undefined ? [] : { type: 'payment.refunded', payload: { cents } };
});

const reserved = new Map<string, string>();
const stock = new Worker({ ...options, lanes: ['stock'] });
stock.on('stock.requested', ({ payload, flowId }) => {
  reserved.set(flowId, payload.order);
  return { type: 'order.prepared', payload: { ...payload, part: 'stock' } };
});
stock.on('shipping.refused', ({ flowId }) => {
  const kept = reserved.get(flowId);
  return kept === undefined ? [] : { type: 'stock.released', payload: { order: kept } };
});

const shipping = new Worker({ ...options, lanes: ['shipping'] });
shipping.join(
  'order.prepared',
  (parts) => {
    const to = parts[0]?.payload?.to;
    if (to === 'Atlantis') throw new PermanentError(`no carrier goes to ${to}`);
    return { type: 'order.shipped', payload: { parts: parts.length } };
  },
  { timeoutMs: 60_000, failureEvents: [{ type: 'shipping.refused' }] },
);

const services = [orders, payment, stock, shipping];
for (const service of services) await service.start();

const client = new Client({ url, events });

/** Events with what they started below them, and that with what it published. */
async function printTree(flowId: string): Promise<void> {
  const { nodes } = await client.admin.getFlowTree({ flowId, pageSize: 1_000 });
  for (const { depth, node } of nodes) {
    const indent = '  '.repeat(depth);
    if (node.case === 'event') console.log(`${indent}${node.value.type}`);
    if (node.case !== 'execution') continue;
    const { subscription, state, outcome } = node.value;
    const why = outcome?.failure ? `: ${outcome.failure.message}` : '';
    console.log(`${indent}→ ${subscription} ${ExecutionState[state]}${why}`);
  }
}

for (const to of ['Lisbon', 'Atlantis']) {
  const placed = { order: `the one to ${to}`, cents: 4_200, to };
  const { flowId } = await client.publish({ type: 'order.placed', payload: placed });
  const { flow } = await client.awaitFlow(flowId, { until: 'settled', timeoutMs: 60_000 });
  console.log(`${placed.order}: settled, ${FlowState[flow?.state ?? 0]}`);
  await printTree(flowId);
}
client.close();
await Promise.all(services.map((service) => service.stop()));
