/**
 * Metrics in the text format that Prometheus reads (version 0.0.4), without a dependency.
 *
 * 1. Each metric has its HELP and TYPE once, before all its samples, whatever number of handles has it.
 * 2. No two samples have the same name and labels: Prometheus would refuse the whole answer.
 * 3. Backslashes and line feeds are escaped in help and values, quotes in values.
 * 4. The buckets of a histogram rise up to `+Inf`, which is its count.
 */
import { InvalidArgumentError } from '../common/errors.ts';
import type { MetricName } from '../common/metric-catalogue.ts';
import type { Metric, Metrics } from '../common/metrics.ts';
import { describeValue, isPlainObject } from '../common/option-checks.ts';

/** The `content-type` of the answer to a scrape. */
export const PROMETHEUS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** Metrics of one handle among several. */
export interface LabelledMetrics {
  /** What `metrics()` has answered. */
  metrics: Metrics;
  /** Added to each sample, such as `{ database: 'orders' }`. Default: none. */
  labels?: Record<string, string>;
}

const LABEL_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

/**
 * The answer to a scrape. `metrics` is what `metrics()` of one handle has answered, as it is or from JSON, or a list for several handles,
 * each with labels that set it apart; `labels` are added to all.
 *
 * Throws `InvalidArgumentError` (`BAD_ARGUMENT`) for labels that Prometheus does not take, for one that a metric has already, and where two
 * handles would have the same sample.
 */
export function prometheusText(
  metrics: Metrics | readonly LabelledMetrics[],
  labels: Record<string, string> = {},
): string {
  const sources = Array.isArray(metrics) ? (metrics as readonly LabelledMetrics[]) : [{ metrics: metrics as Metrics }];
  const families = new Map<string, { metric: Metric; lines: string[] }>();
  const seen = new Set<string>();
  for (const source of sources) {
    checkSource(source);
    const own = checkedLabels({ ...checkedLabels(labels), ...checkedLabels(source.labels ?? {}) });
    for (const name of Object.keys(source.metrics) as MetricName[]) {
      const metric = source.metrics[name];
      if (metric === undefined) continue;
      const family = families.get(name) ?? { metric, lines: [] };
      families.set(name, family);
      for (const line of linesOf(name, metric, own, seen)) family.lines.push(line);
    }
  }
  return [...families].map(([name, { metric, lines }]) => `${headOf(name, metric)}${lines.join('')}`).join('');
}

function headOf(name: string, { help, type }: Metric): string {
  return `# HELP ${name} ${help.replace(/\\/g, '\\\\').replace(/\n/g, '\\n')}\n# TYPE ${name} ${type}\n`;
}

function linesOf(name: string, metric: Metric, own: Record<string, string>, seen: Set<string>): string[] {
  const lines: string[] = [];
  for (const { labels, value } of metric.samples) {
    lines.push(`${name}${textOf(name, own, labels, seen)} ${numberText(value)}\n`);
  }
  for (const { labels, buckets, count, sum } of metric.histograms) {
    const all = textOf(name, own, labels, seen);
    const inner = all === '' ? '' : `${all.slice(1, -1)},`;
    for (const bucket of buckets) lines.push(`${name}_bucket{${inner}le="${numberText(bucket.le)}"} ${bucket.count}\n`);
    lines.push(`${name}_bucket{${inner}le="+Inf"} ${count}\n`);
    lines.push(`${name}_sum${all} ${numberText(sum)}\n`, `${name}_count${all} ${count}\n`);
  }
  return lines;
}

/** Labels in braces; `''` for none. */
function textOf(name: string, own: Record<string, string>, labels: Record<string, string>, seen: Set<string>): string {
  const twice = Object.keys(labels).find((label) => Object.hasOwn(own, label));
  if (twice !== undefined) throw badLabels(`${name} has a label ${twice} already; choose another name`);
  const pairs = Object.entries({ ...own, ...labels }).sort(([a], [b]) => (a < b ? -1 : 1));
  const text = pairs.length === 0 ? '' : `{${pairs.map(([label, value]) => `${label}="${escaped(value)}"`).join(',')}}`;
  const key = `${name}${text}`;
  if (seen.has(key)) throw badLabels(`two handles have the sample ${key}; give each labels of its own`);
  seen.add(key);
  return text;
}

function escaped(value: string): string {
  return value.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n');
}

function numberText(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf';
  return String(value);
}

function checkSource(source: LabelledMetrics): void {
  const metrics: unknown = (source as Partial<LabelledMetrics> | undefined | null)?.metrics;
  if (typeof metrics === 'object' && metrics !== null && Object.values(metrics).every(isMetric)) return;
  throw badLabels(
    `the metrics must be what metrics() of a handle has answered, or a list of { metrics, labels }, not ${describeValue(metrics)}`,
  );
}

function isMetric(value: unknown): boolean {
  const metric = value as Partial<Metric> | undefined | null;
  return Array.isArray(metric?.samples) && Array.isArray(metric.histograms) && typeof metric.help === 'string';
}

function checkedLabels(labels: Record<string, string>): Record<string, string> {
  if (!isPlainObject(labels)) throw badLabels(`the labels must be an object, not ${describeValue(labels)}`);
  for (const [label, value] of Object.entries(labels)) {
    if (!LABEL_NAME.test(label) || label.startsWith('__') || label === 'le' || label === 'quantile')
      throw badLabels(`${JSON.stringify(label)} is no name that a label of yours can have`);
    if (typeof value !== 'string') throw badLabels(`the label ${label} must be a string, not ${describeValue(value)}`);
  }
  return labels;
}

function badLabels(what: string): InvalidArgumentError {
  return new InvalidArgumentError('BAD_ARGUMENT', `prometheusText: ${what}.`);
}
