/** Events and the streams they stand in. */
export * from './event-row.js';
export * from './find.js';
export * from './list.js';
export * from './publish.js';
export * from './read-stream.js';
