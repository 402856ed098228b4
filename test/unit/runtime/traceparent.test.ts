import { describe, expect, it } from 'vitest';
import {
  parseTraceparent,
  readTraceHeaders,
  wrongTraceparent,
  wrongTracestate,
} from '../../../src/runtime/traceparent.js';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN = '00f067aa0ba902b7';
const GOOD = `00-${TRACE}-${SPAN}-01`;

describe('a traceparent', () => {
  it('is read, also one of a later version', () => {
    expect(parseTraceparent(GOOD)).toEqual({ traceId: TRACE, spanId: SPAN, flags: 1 });
    expect(parseTraceparent(`cc-${TRACE}-${SPAN}-ff-what-comes-later`)).toMatchObject({ traceId: TRACE, flags: 255 });
    expect(readTraceHeaders((name) => (name === 'traceparent' ? ` cc${GOOD.slice(2)}-later ` : ' a=1 '))).toEqual({
      traceparent: GOOD,
      tracestate: 'a=1',
    });
  });

  it.each([
    '',
    'x',
    GOOD.toUpperCase(),
    `ff${GOOD.slice(2)}`,
    `${GOOD}-later`,
    `00-${'0'.repeat(32)}-${SPAN}-01`,
    `00-${TRACE}-${'0'.repeat(16)}-01`,
    `00-${TRACE}-${SPAN}`,
    `00-${TRACE}-${SPAN}-1`,
    `00-${TRACE.slice(1)}g-${SPAN}-01`,
  ])('is none: %j', (text) => {
    expect(parseTraceparent(text)).toBeUndefined();
    expect(wrongTraceparent(text)).toMatch(/W3C/);
    expect(readTraceHeaders(() => text)).toBeUndefined();
  });

  it('is of version 00 where it is said and not only passed on', () => {
    expect(wrongTraceparent(GOOD)).toBeUndefined();
    expect(wrongTraceparent(`cc${GOOD.slice(2)}`)).toMatch(/W3C/);
  });
});

it('a tracestate is printable and bounded, and left out where it is not', () => {
  expect([wrongTracestate(''), wrongTracestate('a=1,b=2'), wrongTracestate('x'.repeat(512))]).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
  for (const wrong of ['x'.repeat(513), 'a=\nb', 'ä=1', 'a=\0']) {
    expect(wrongTracestate(wrong)).toBeDefined();
    expect(readTraceHeaders((name) => (name === 'traceparent' ? GOOD : wrong))).toEqual({
      traceparent: GOOD,
      tracestate: '',
    });
  }
});
