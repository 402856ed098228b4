import { describe, expect, it } from 'vitest';
import { describeSettings, readConfig } from '../../../src/config.js';

const ENDPOINT = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318/' };

describe('settings of traces', () => {
  it('export nothing without an endpoint, or where they are turned off', () => {
    expect(readConfig({}).tracing).toBeUndefined();
    expect(readConfig({ OTEL_SERVICE_NAME: 'orders' }).tracing).toBeUndefined();
    expect(readConfig({ ...ENDPOINT, OTEL_SDK_DISABLED: 'true' }).tracing).toBeUndefined();
  });

  it('are those of OpenTelemetry', () => {
    expect(readConfig(ENDPOINT).tracing).toEqual({
      url: 'http://collector:4318/v1/traces',
      headers: {},
      serviceName: 'tailrace',
      attributes: {},
      sampler: { ratio: 1, parentBased: true },
      statements: false,
    });
    const all = {
      ...ENDPOINT,
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://elsewhere/traces',
      OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Basic%20dXNlcg==, tenant=one',
      OTEL_EXPORTER_OTLP_TRACES_HEADERS: 'tenant=two',
      OTEL_RESOURCE_ATTRIBUTES: 'service.name=lost,region=eu',
      OTEL_SERVICE_NAME: 'orders',
      OTEL_TRACES_SAMPLER: 'traceidratio',
      OTEL_TRACES_SAMPLER_ARG: '0.25',
      TAILRACE_TRACE_STATEMENTS: 'true',
    };
    expect(readConfig(all).tracing).toEqual({
      url: 'https://elsewhere/traces',
      headers: { authorization: 'Basic dXNlcg==', tenant: 'two' },
      serviceName: 'orders',
      attributes: { region: 'eu' },
      sampler: { ratio: 0.25, parentBased: false },
      statements: true,
    });
    expect(describeSettings().map(({ name }) => name)).toEqual(expect.arrayContaining(Object.keys(all)));
  });

  it.each([
    ['OTEL_TRACES_SAMPLER', 'jaeger_remote', 'one of always_on'],
    ['OTEL_TRACES_SAMPLER_ARG', '2', 'a share from 0 to 1'],
    ['OTEL_RESOURCE_ATTRIBUTES', 'region', 'name=value pairs'],
  ])('say what is wrong with %s', (name, value, rule) => {
    expect(() => readConfig({ ...ENDPOINT, [name]: value })).toThrow(rule);
  });

  it.each([
    ['OTEL_EXPORTER_OTLP_HEADERS', 'a secret without a name'],
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'ftp://user:secret@collector'],
  ])('do not show what %s holds', (name, value) => {
    expect(() => readConfig({ [name]: value })).toThrow(`${value.length} characters of text`);
    expect(() => readConfig({ [name]: value })).not.toThrow('secret');
  });
});
