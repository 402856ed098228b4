/** Bulk redrives: started, looked at, stopped, and worked on step by step. */
export { type Preview, previewRedrive } from './preview.js';
export { type BulkRedrive, dueRedrives, readRedrive } from './read.js';
export { retireRedrives } from './retire.js';
export { mostOf, type NewRedrive, type StartAnswer, startRedrive } from './start.js';
export { type RedriveStep, type StepOptions, stepRedrive } from './step.js';
export { stopRedrive } from './stop.js';
