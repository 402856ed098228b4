/** Subscriptions: stored rules that turn events into executions. */
export * from './delete.js';
export * from './list.js';
export * from './put.js';
