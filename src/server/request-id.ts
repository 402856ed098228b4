/**
 * The id under which logs on both sides speak of one call: the client's `x-request-id` where it is one to three lines of a log
 * can live with, else one made here. It is answered in the same header. It decides nothing: a repeat may have another one.
 */
import { randomUUID } from 'node:crypto';
import { header, type Request } from './exchange.js';

export const REQUEST_ID = 'x-request-id';

const WELL_FORMED = /^[\x21-\x7e]{1,128}$/;

export function requestIdOf(request: Request): string {
  const given = header(request, REQUEST_ID);
  return given !== undefined && WELL_FORMED.test(given) ? given : randomUUID();
}
