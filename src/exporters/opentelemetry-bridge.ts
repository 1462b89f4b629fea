/**
 * Metrics for OpenTelemetry: observable instruments, which a reader of the SDK asks when it collects. So nothing runs in between, and one
 * collection asks `metrics()` of a handle once.
 *
 * OpenTelemetry has no observable histograms: each becomes three counters, as in the text for Prometheus: `NAME_bucket` with the attribute `le`,
 * `NAME_sum` and `NAME_count`.
 *
 * Its package `@opentelemetry/api` is an optional peer, loaded when no meter is given. Its types are not named here, so that declarations
 * compile without it: a meter is whatever has the three methods.
 */
import { InvalidArgumentError } from '../common/errors.ts';
import { METRICS, type MetricInfo, type MetricName } from '../common/metric-catalogue.ts';
import type { Metrics } from '../common/metrics.ts';
import { type Check, type ChecksOf, checkedOptions, isPlainObject, methods } from '../common/option-checks.ts';
import { loadPackage } from '../common/optional-package.ts';

/** Descriptions of an instrument, as OpenTelemetry takes them. */
export interface InstrumentOptions {
  /** What it says. */
  description?: string;
  /** `s`, `By`, or `1`. */
  unit?: string;
}

/** Where values of one collection go, as OpenTelemetry gives it. */
export interface ObservationResult<Instrument> {
  /** A value of an instrument under these attributes. */
  observe(instrument: Instrument, value: number, attributes?: Record<string, string>): void;
}

/** Of a `Meter` of OpenTelemetry what is needed here. */
export interface ObservableMeter<Instrument = unknown> {
  /** An instrument whose values only rise. */
  createObservableCounter(name: string, options?: InstrumentOptions): Instrument;
  /** An instrument whose values are states. */
  createObservableGauge(name: string, options?: InstrumentOptions): Instrument;
  /** Has `callback` called at each collection. */
  addBatchObservableCallback(
    callback: (result: ObservationResult<Instrument>) => void,
    instruments: Instrument[],
  ): void;
  /** Ends that. */
  removeBatchObservableCallback(
    callback: (result: ObservationResult<Instrument>) => void,
    instruments: Instrument[],
  ): void;
}

/** Options of `observeMetrics`. */
export interface ObserveOptions<Instrument = unknown> {
  /** The meter whose instruments are used. Default: the meter `shaledb` of the global provider of `@opentelemetry/api`. */
  meter?: ObservableMeter<Instrument>;
  /** Added to each value, such as `{ database: 'orders' }`; needed where several handles are observed. Default: none. */
  attributes?: Record<string, string>;
}

/** What `observeMetrics` has begun. */
export interface MetricsObservation {
  /** Ends it: the handle is asked no more, and can be collected. Harmless when called again. */
  stop(): void;
}

/** A handle: a database or a reader. */
export interface MetricsSource {
  /** As of a database. */
  metrics(): Metrics;
}

const attributesCheck: Check = (value, name, faults) => {
  const isGood =
    isPlainObject(value) && Object.values(value).every((attribute: unknown) => typeof attribute === 'string');
  if (!isGood) faults.push(`${name} must be an object of strings`);
  return isGood ? { ...value } : value;
};

const CHECKS: ChecksOf<ObserveOptions> = {
  meter: methods(
    'createObservableCounter',
    'createObservableGauge',
    'addBatchObservableCallback',
    'removeBatchObservableCallback',
  ),
  attributes: attributesCheck,
};

const UNITS = { '': '1', bytes: 'By', seconds: 's' } as const;
const PACKAGE = { name: '@opentelemetry/api', what: 'observeMetrics', code: 'PACKAGE_MISSING' } as const;

/**
 * Makes instruments for all metrics of a handle, until `stop` is called. Call it once for each handle, after the provider of the SDK was
 * registered. Costs nothing between two collections, and no request in them.
 *
 * Rejects with `IncompatibleError` (`PACKAGE_MISSING`) if no meter is given and `@opentelemetry/api` cannot be loaded, and with
 * `InvalidArgumentError` for a handle without `metrics()` and for bad options.
 */
export async function observeMetrics<Instrument = unknown>(
  handle: MetricsSource,
  options: ObserveOptions<Instrument> = {},
): Promise<MetricsObservation> {
  if (typeof (handle as Partial<MetricsSource> | undefined | null)?.metrics !== 'function')
    throw new InvalidArgumentError('BAD_ARGUMENT', 'observeMetrics needs a database or a reader: it has metrics().');
  const { meter = await globalMeter(), attributes = {} } = checkedOptions<ObserveOptions>(
    'observeMetrics',
    options as ObserveOptions,
    CHECKS,
  );
  return new Observation(handle, meter, attributes);
}

async function globalMeter(): Promise<ObservableMeter> {
  // Where an import has a handler, esbuild bundles a program that lacks the package.
  const load = () => import('@opentelemetry/api').catch((cause: unknown) => Promise.reject(cause));
  const { metrics } = await loadPackage(PACKAGE, load);
  return metrics.getMeter('shaledb') as ObservableMeter;
}

class Observation implements MetricsObservation {
  readonly #meter: ObservableMeter;
  readonly #attributes: Record<string, string>;
  /** By the names under which values are observed. */
  readonly #instruments = new Map<string, unknown>();
  #handle: MetricsSource | undefined;
  readonly #callback = (result: ObservationResult<unknown>) => this.#observe(result);

  constructor(handle: MetricsSource, meter: ObservableMeter, attributes: Record<string, string>) {
    this.#handle = handle;
    this.#meter = meter;
    this.#attributes = attributes;
    for (const [name, info] of Object.entries(METRICS)) this.#create(name, info);
    meter.addBatchObservableCallback(this.#callback, [...this.#instruments.values()]);
  }

  #create(name: string, { type, unit, help }: MetricInfo): void {
    const options = { description: help, unit: UNITS[unit] };
    const add = (own: string, instrument: unknown) => void this.#instruments.set(own, instrument);
    if (type === 'gauge') add(name, this.#meter.createObservableGauge(name, options));
    else if (type === 'counter') add(name, this.#meter.createObservableCounter(name, options));
    else {
      const count = { description: help, unit: '1' };
      add(`${name}_bucket`, this.#meter.createObservableCounter(`${name}_bucket`, count));
      add(`${name}_count`, this.#meter.createObservableCounter(`${name}_count`, count));
      add(`${name}_sum`, this.#meter.createObservableCounter(`${name}_sum`, options));
    }
  }

  #observe(result: ObservationResult<unknown>): void {
    const metrics = this.#handle?.metrics();
    if (metrics === undefined) return;
    for (const name of Object.keys(metrics) as MetricName[]) {
      const { samples = [], histograms = [] } = metrics[name] ?? {};
      for (const { labels, value } of samples) this.#value(result, name, value, labels);
      for (const { labels, buckets, count, sum } of histograms) {
        for (const bucket of buckets)
          this.#value(result, `${name}_bucket`, bucket.count, { ...labels, le: String(bucket.le) });
        this.#value(result, `${name}_bucket`, count, { ...labels, le: '+Inf' });
        this.#value(result, `${name}_sum`, sum, labels);
        this.#value(result, `${name}_count`, count, labels);
      }
    }
  }

  #value(result: ObservationResult<unknown>, name: string, value: number, labels: Record<string, string>): void {
    result.observe(this.#instruments.get(name), value, { ...this.#attributes, ...labels });
  }

  stop(): void {
    if (this.#handle === undefined) return;
    this.#handle = undefined;
    this.#meter.removeBatchObservableCallback(this.#callback, [...this.#instruments.values()]);
  }
}
