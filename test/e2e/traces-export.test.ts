/** A server that is told where to export its spans to: they arrive, a collector that is away costs nothing but them. */
import pino from 'pino';
import { afterEach, expect, test } from 'vitest';
import { SpanCollector } from '../support/span-collector.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

const TRACE = '1'.repeat(32);
const SPAN = '2'.repeat(16);
const SAMPLED = { headers: { traceparent: `00-${TRACE}-${SPAN}-01` } };
const DROPPED = { headers: { traceparent: `00-${'3'.repeat(32)}-${SPAN}-00` } };
const CREATE = 'tailrace.v1.EngineService/CreateExecutions';
const executions = [{ type: 'traced' }];

let collector: SpanCollector | undefined;
let tailrace: TestTailrace | undefined;
afterEach(async () => {
  await tailrace?.stop();
  await collector?.stop();
  tailrace = undefined;
  collector = undefined;
});

test('spans of calls and of their statements are exported, the last of them by the stop', async () => {
  collector = await SpanCollector.start();
  tailrace = await startTailrace({
    environment: {
      OTEL_EXPORTER_OTLP_ENDPOINT: `${collector.url}/`,
      OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20for-the-collector',
      OTEL_RESOURCE_ATTRIBUTES: 'service.name=orders,region=eu',
      OTEL_TRACES_SAMPLER: 'parentbased_always_off',
      TAILRACE_TRACE_STATEMENTS: 'true',
    },
  });
  await tailrace.engine.createExecutions({ executions }, SAMPLED);
  await tailrace.engine.createExecutions({ executions }, DROPPED);
  await tailrace.engine.createExecutions({ executions });
  const { headers } = await probe(tailrace.url);
  expect(headers.get('x-request-id')).toBe('asked-for');
  await tailrace.stop();
  tailrace = undefined;
  const { spans, paths, authorizations } = collector;
  expect([...paths]).toEqual(['/v1/traces']);
  expect([...authorizations]).toEqual(['Bearer for-the-collector']);
  const call = spans.find(({ name }) => name === CREATE);
  expect(call).toMatchObject({ service: 'orders', traceId: TRACE, parentSpanId: SPAN });
  // Only of what its caller has sampled, and nothing of probes or of loops.
  expect(spans.filter(({ name }) => name === CREATE)).toHaveLength(1);
  expect(new Set(spans.map(({ traceId }) => traceId))).toEqual(new Set([TRACE]));
  const statements = spans.filter(({ parentSpanId }) => parentSpanId === call?.spanId).map(({ name }) => name);
  expect(statements).toContain('executions.create');
});

test('a collector that is away is logged, and nothing else', async () => {
  const lines: string[] = [];
  tailrace = await startTailrace({
    environment: { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://127.0.0.1:9/v1/traces', OTEL_SERVICE_NAME: 'lonely' },
    logger: pino({ level: 'warn' }, { write: (line: string) => lines.push(line) }),
  });
  const { results } = await tailrace.engine.createExecutions({ executions });
  expect(results[0]?.result.case).toBe('ok');
  await tailrace.stop();
  tailrace = undefined;
  const said = lines.map((line) => JSON.parse(line) as { msg: string; loop?: string });
  expect(said.filter(({ loop }) => loop === 'traces').map(({ msg }) => msg)).toContain(
    'the last spans could not be exported; they are lost',
  );
});

async function probe(url: string): Promise<Response> {
  const asked = {
    method: 'POST',
    body: '{}',
    headers: { 'content-type': 'application/json', 'x-request-id': 'asked-for' },
  };
  return await fetch(`${url}/grpc.health.v1.Health/Check`, asked);
}
