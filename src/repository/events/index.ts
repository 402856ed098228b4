/** Events and the streams they stand in. */
export * from './event-row.js';
