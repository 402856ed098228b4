/** Suspensions, waitpoints and signals. */
export * from './reading/index.js';
