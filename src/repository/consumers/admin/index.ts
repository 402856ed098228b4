/** Consumers as operators see and steer them. */
export * from './list.js';
export * from './put.js';
export * from './rebuild.js';
export * from './reset.js';
export * from './step.js';
