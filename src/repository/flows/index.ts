/** Flows and joins: making and changing them, and looking at them. */
export * from './answers.js';
export * from './cancel.js';
export { type CancelSettings, createFlow, type NewFlow } from './create.js';
export { readDefaultNames } from './default-names.js';
export { extendFlow, type FlowExtension } from './extend.js';
export * from './graph.js';
export { type KnownEdge, readDepths, readGraph } from './graph-read.js';
export { type KeptOrder, readKeptOrders } from './kept-orders.js';
export type { NewMember } from './members.js';
export * from './reading/index.js';
export { type Sealing, sealFlow } from './seal.js';
export * from './spawn.js';
