// The JavaScript OpenTelemetry SDK as a client.
//
// Emits traces, metrics and logs through one OTLP exporter and records, as
// OTLP JSON lines, what that exporter was given and said it delivered.
import { createRequire } from 'node:module';
import { appendFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { context, metrics as metricsApi, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, TraceFlags, ValueType } from '@opentelemetry/api';
import { SeverityNumber } from '@opentelemetry/api-logs';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor } from '@opentelemetry/sdk-trace-node';
import { AggregationTemporality, AggregationType, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BatchLogRecordProcessor } from '@opentelemetry/sdk-logs';
import { logs as logsApi } from '@opentelemetry/api-logs';

const { values: options } = parseArgs({
  options: {
    protocol: { type: 'string' },
    compression: { type: 'string', default: 'none' },
    endpoint: { type: 'string' },
    record: { type: 'string' },
    count: { type: 'string', default: '2000' },
  },
});
const count = Number(options.count);
writeFileSync(options.record, '');

// The transformer is a dependency of the exporters; it is found from where they are.
const require = createRequire(import.meta.url);
const { JsonLogsSerializer, JsonMetricsSerializer, JsonTraceSerializer } = require(
  require.resolve('@opentelemetry/otlp-transformer', { paths: [require.resolve('@opentelemetry/exporter-trace-otlp-http')] }),
);

let refused = 0;

function recording(exporter, serializer) {
  const send = exporter.export.bind(exporter);
  exporter.export = (batch, done) => {
    const line = Buffer.from(serializer.serializeRequest(batch)).toString('utf8');
    send(batch, (result) => {
      if (result.code === 0) {
        appendFileSync(options.record, line + '\n');
      } else {
        refused += 1;
        console.error(result.error);
      }
      done(result);
    });
  };
  return exporter;
}

async function exporters() {
  const suffix = { grpc: 'grpc', json: 'http', protobuf: 'proto' }[options.protocol];
  const [{ OTLPTraceExporter }, { OTLPMetricExporter }, { OTLPLogExporter }] = await Promise.all([
    import(`@opentelemetry/exporter-trace-otlp-${suffix}`),
    import(`@opentelemetry/exporter-metrics-otlp-${suffix}`),
    import(`@opentelemetry/exporter-logs-otlp-${suffix}`),
  ]);
  const common = { compression: options.compression, timeoutMillis: 20000 };
  const url = (signal) => (options.protocol === 'grpc' ? options.endpoint : `${options.endpoint}/v1/${signal}`);
  return {
    traces: recording(new OTLPTraceExporter({ ...common, url: url('traces') }), JsonTraceSerializer),
    metrics: recording(
      new OTLPMetricExporter({ ...common, url: url('metrics'), temporalityPreference: AggregationTemporality.CUMULATIVE }),
      JsonMetricsSerializer,
    ),
    logs: recording(new OTLPLogExporter({ ...common, url: url('logs') }), JsonLogsSerializer),
  };
}

const everyType = {
  text: 'plain',
  'text.empty': '',
  'text.unicode': 'Grüße, 世界, 🚀, \u0001 and "quotes" \\ \n done',
  'text.long': 'x'.repeat(10000),
  int: 42,
  'int.negative': -1,
  'int.safe': Number.MAX_SAFE_INTEGER,
  double: 0.1,
  'double.tiny': 5e-324,
  'bool.true': true,
  'bool.false': false,
  'array.text': ['a', '', 'c'],
  'array.int': [1, -2, 3],
  'array.bool': [true, false],
};

function emitTraces() {
  const tracer = trace.getTracer('interop.js', '1.2.3', { schemaUrl: 'https://opentelemetry.io/schemas/1.30.0' });
  const remote = trace.setSpanContext(ROOT_CONTEXT, {
    traceId: '0af7651916cd43dd8448eb211c80319c',
    spanId: '00f067aa0ba902b7',
    isRemote: true,
    traceFlags: TraceFlags.SAMPLED,
  });
  const root = tracer.startSpan('from afar', { kind: SpanKind.SERVER, attributes: everyType }, remote);
  root.addEvent('with attributes', { n: 1, list: ['a', 'b'] });
  root.addEvent('at a given time', [1700000000, 123456789]);
  const inside = trace.setSpan(remote, root);
  for (const kind of [SpanKind.INTERNAL, SpanKind.SERVER, SpanKind.CLIENT, SpanKind.PRODUCER, SpanKind.CONSUMER]) {
    const child = tracer.startSpan(`kind ${kind}`, { kind, links: [{ context: root.spanContext(), attributes: { why: 'because' } }] }, inside);
    child.setStatus({ code: SpanStatusCode.OK });
    child.end();
  }
  const failing = tracer.startSpan('failing', {}, inside);
  failing.recordException(new Error('broken'));
  failing.setStatus({ code: SpanStatusCode.ERROR, message: 'it broke: <&>' });
  failing.end();
  for (let number = 0; number < count; number += 1) {
    tracer.startSpan('plain', { attributes: { number, route: `/item/${number % 10}` } }, inside).end();
  }
  root.end();
}

function emitMetrics() {
  const meter = metricsApi.getMeter('interop.js.meter', '0.1');
  const requests = meter.createCounter('requests', { unit: '1', valueType: ValueType.INT });
  const busy = meter.createCounter('busy', { unit: 's' });
  const depth = meter.createUpDownCounter('queue.depth', { valueType: ValueType.INT });
  const latency = meter.createHistogram('latency', { unit: 'ms', advice: { explicitBucketBoundaries: [0.5, 1, 10, 100] } });
  const exponential = meter.createHistogram('exponential', { unit: 'By' });
  const temperature = meter.createGauge('temperature', { unit: 'Cel' });
  meter.createObservableGauge('observed').addCallback((result) => {
    result.observe(1.5, { at: 'a' });
    result.observe(-3, { at: 'b' });
  });
  for (let number = 0; number < 20; number += 1) {
    requests.add(1, { method: number % 2 ? 'GET' : 'POST' });
    latency.record(0.3 * number ** 2, { route: '/' });
    exponential.record(number * 1.7);
  }
  busy.add(0.125);
  depth.add(-7, { queue: 'a' });
  temperature.record(21.5, { room: 'kitchen' });
}

function emitLogs() {
  const logger = logsApi.getLogger('interop.js.logger', '9', { schemaUrl: 'https://opentelemetry.io/schemas/1.30.0' });
  const span = trace.getTracer('interop.js').startSpan('around');
  const around = trace.setSpan(context.active(), span);
  const bodies = ['text', '', 7, -7.25, true, ['a', 1, 2.5, ['nested']], { a: 1, b: { c: ['d', { e: 2 }] }, empty: {} }];
  bodies.forEach((body, number) => {
    logger.emit({
      timestamp: [1700000000, number],
      severityNumber: [SeverityNumber.TRACE, SeverityNumber.INFO, SeverityNumber.FATAL4][number % 3],
      severityText: `level ${number}`,
      body,
      attributes: { number, nested: { deep: [1, { er: true }] } },
      eventName: number % 2 ? 'interop.event' : undefined,
      context: around,
    });
  });
  for (let number = 0; number < count; number += 1) {
    logger.emit({ body: `plain line ${number}`, severityNumber: SeverityNumber.INFO });
  }
  span.end();
}

const sends = await exporters();
const sdk = new NodeSDK({
  resource: resourceFromAttributes({ ...everyType, 'service.name': 'interop-js', 'service.instance.id': 'one' }),
  autoDetectResources: false,
  instrumentations: [],
  spanProcessors: [new BatchSpanProcessor(sends.traces, { maxQueueSize: 100000, maxExportBatchSize: 500 })],
  metricReaders: [new PeriodicExportingMetricReader({ exporter: sends.metrics, exportIntervalMillis: 3600000 })],
  logRecordProcessors: [new BatchLogRecordProcessor({ exporter: sends.logs, maxQueueSize: 100000, maxExportBatchSize: 500 })],
  views: [{ instrumentName: 'exponential', aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM, options: { maxSize: 40 } } }],
});
sdk.start();
emitTraces();
emitMetrics();
emitLogs();
await sdk.shutdown();
console.log(JSON.stringify({ refused }));
process.exit(refused ? 1 : 0);
