/** Waitpoints as their holder makes and sees them. */
import type { WaitpointObject } from './reading/index.js';

/** One to be made. */
export interface NewWaitpoint {
  readonly id: string;
  readonly key: string;
  readonly expiryMs: number;
}

/** As the database answers it. */
export interface HeldWaitpoint extends WaitpointObject {
  readonly id: string;
  /** Signs its token. */
  readonly secret: number;
}
