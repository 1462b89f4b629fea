/** Metrics as the text that Prometheus scrapes. Named re-exports only. */
export type { MetricName, MetricType, MetricUnit } from './common/metric-catalogue.ts';
export type { HistogramSample, Metric, Metrics, NumberSample } from './common/metrics.ts';
export { type LabelledMetrics, PROMETHEUS_CONTENT_TYPE, prometheusText } from './exporters/prometheus-text.ts';
