/** Flows and joins: making and changing them, and looking at them. */
export * from './answers.js';
export * from './graph.js';
export * from './reading/index.js';
