/**
 * What `metrics()` answers: plain data, and the builder that makes it by the catalogue.
 *
 * 1. Every metric is one of the catalogue, in its order, and each of its samples has exactly the labels that are written there.
 * 2. All is JSON: no number is NaN or infinite, and the last bucket of a histogram is its count.
 */
import { assertThat } from './assert.ts';
import { InvalidArgumentError } from './errors.ts';
import { Histogram } from './histogram.ts';
import { METRICS, type MetricInfo, type MetricName, type MetricType, type MetricUnit } from './metric-catalogue.ts';
import { readingArgument } from './option-checks.ts';

/** A counter or a gauge under one set of labels. */
export interface NumberSample {
  /** Name of a label -> its value. */
  labels: Record<string, string>;
  /** In the unit of the metric. */
  value: number;
}

/** A histogram under one set of labels. */
export interface HistogramSample {
  /** Name of a label -> its value. */
  labels: Record<string, string>;
  /** How many values there were. */
  count: number;
  /** Their sum, in the unit of the metric. */
  sum: number;
  /** For each bound how many values were not above it, rising; those above the last one are in `count` alone. */
  buckets: {
    /** The bound. */
    le: number;
    /** How many values were not above it. */
    count: number;
  }[];
}

/** One metric with what it is and all its samples. */
export interface Metric {
  /** How it is to be read. */
  type: MetricType;
  /** What its values count; `''`: things, as the name says. */
  unit: MetricUnit;
  /** What it says. */
  help: string;
  /** Of a counter or gauge one value for each set of labels. Empty for a histogram. */
  samples: NumberSample[];
  /** Of a histogram one for each set of labels. Empty for the others. */
  histograms: HistogramSample[];
}

/** Name -> metric, for those that a handle has values of. Plain data: it survives JSON and `postMessage`, and does not change any more. */
export type Metrics = { [Name in MetricName]?: Metric };

/**
 * The sum of the samples of a counter or gauge whose labels are as given, of a histogram the sum of the counts; 0 where there is none.
 * `labels`: only samples with these values; default: all.
 */
export function metricValue(metrics: Metrics, name: MetricName, labels: Record<string, string> = {}): number {
  const value: unknown = readingArgument('metricValue', () => sumOf(metrics, name, labels));
  if (typeof value === 'number') return value;
  throw new InvalidArgumentError('BAD_ARGUMENT', 'metricValue needs what metrics() of a database or reader returned.');
}

function sumOf(metrics: Metrics, name: MetricName, labels: Record<string, string>): number {
  const metric = metrics[name];
  if (metric === undefined) return 0;
  const isMeant = (sample: { labels: Record<string, string> }) =>
    Object.entries(labels).every(([label, value]) => sample.labels[label] === value);
  const values = [
    ...metric.samples.filter(isMeant).map(({ value }) => value),
    ...metric.histograms.filter(isMeant).map(({ count }) => count),
  ];
  return values.reduce((sum, value) => sum + value, 0);
}

/** A histogram with the bounds that the catalogue names. */
export function histogramOf(name: MetricName): Histogram {
  const { bounds } = METRICS[name] as MetricInfo;
  assertThat(bounds !== undefined, 'a histogram has bounds in the catalogue', { name });
  return new Histogram(bounds);
}

export class MetricsBuilder {
  readonly #made = new Map<MetricName, Metric>();

  /** A value of a counter or gauge; undefined: there is none. */
  value(name: MetricName, value: number | undefined, labels: Record<string, string> = {}): void {
    if (value === undefined) return;
    assertThat(METRICS[name].type !== 'histogram', 'a number is of a counter or gauge', { name });
    assertThat(Number.isFinite(value), 'a metric is a number that JSON has (metrics 2)', { name, value });
    this.#of(name, labels).samples.push({ labels, value });
  }

  histogram(name: MetricName, values: Histogram, labels: Record<string, string> = {}): void {
    assertThat(METRICS[name].type === 'histogram', 'a histogram is one in the catalogue', { name });
    const cumulative = values.cumulative();
    const buckets = values.bounds.map((le, i) => ({ le, count: cumulative[i] }));
    const { count, sum } = values;
    assertThat((cumulative.at(-1) ?? 0) <= count, 'buckets of a histogram rise up to its count (metrics 2)');
    this.#of(name, labels).histograms.push({ labels, count, sum, buckets });
  }

  #of(name: MetricName, labels: Record<string, string>): Metric {
    const { type, unit, help, labels: known } = METRICS[name] as MetricInfo;
    const given = Object.keys(labels);
    assertThat(
      given.length === known.length && known.every((label) => given.includes(label)),
      'a sample has the labels that the catalogue names (metrics 1)',
      { name, given },
    );
    let metric = this.#made.get(name);
    if (metric === undefined) {
      metric = { type, unit, help, samples: [], histograms: [] };
      this.#made.set(name, metric);
    }
    return metric;
  }

  /** In the order of the catalogue. */
  metrics(): Metrics {
    const all: Metrics = {};
    for (const name of Object.keys(METRICS) as MetricName[]) {
      const metric = this.#made.get(name);
      if (metric !== undefined) all[name] = metric;
    }
    return all;
  }
}
