/**
 * Tells a handler that this server is going away: `drainingOf(context)` aborts when the drain begins.
 *
 * A handler that only waits (a long poll with nothing to give) watches it and answers at once with what it has; one
 * that works ignores it and has the drain's bound to finish. What is left after that loses `context.signal`, with an
 * EngineError DRAINING as the reason. Listen with a function that is taken off again: the signal outlives the call.
 */
import { type ContextValues, createContextKey, createContextValues, type HandlerContext } from '@connectrpc/connect';

const DRAINING = createContextKey(new AbortController().signal, { description: 'the server drains' });

export function drainingOf(context: Pick<HandlerContext, 'values'>): AbortSignal {
  return context.values.get(DRAINING);
}

/** The values of a call's context, before anything else is known of it. */
export function valuesWithDraining(signal: AbortSignal): ContextValues {
  return createContextValues().set(DRAINING, signal);
}
