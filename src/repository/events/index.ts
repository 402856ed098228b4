/** Events and the streams they stand in. */
export * from './event-row.js';
export * from './find.js';
export * from './publish.js';
