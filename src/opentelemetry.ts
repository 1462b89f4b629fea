/** Metrics for OpenTelemetry, through the optional peer `@opentelemetry/api`. Named re-exports only. */
export type { MetricName, MetricType, MetricUnit } from './common/metric-catalogue.ts';
export type { HistogramSample, Metric, Metrics, NumberSample } from './common/metrics.ts';
export {
  type InstrumentOptions,
  type MetricsObservation,
  type MetricsSource,
  type ObservableMeter,
  type ObservationResult,
  type ObserveOptions,
  observeMetrics,
} from './exporters/opentelemetry-bridge.ts';
