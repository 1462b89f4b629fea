/** The bridge to OpenTelemetry, through the real `@opentelemetry/api` and a provider that collects when a test says so. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  metrics as api,
  type BatchObservableCallback,
  type BatchObservableResult,
  createNoopMeter,
  type Meter,
  type MeterProvider,
  type MetricOptions,
  type Observable,
} from '@opentelemetry/api';
import { afterEach, describe, expect, it } from 'vitest';
import { METRICS } from '../../../src/common/metric-catalogue.ts';
import { type Db, metricValue, open } from '../../../src/index.ts';
import { observeMetrics } from '../../../src/opentelemetry.ts';
import { rejection } from '../../support/database.ts';

interface Instrument extends Observable {
  name: string;
  kind: 'counter' | 'gauge';
  options: MetricOptions | undefined;
}

/** A meter that keeps what was made with it: no operation but those of observable instruments does anything. */
function testMeter() {
  const instruments = new Map<string, Instrument>();
  const callbacks = new Map<BatchObservableCallback, readonly Observable[]>();
  const make = (kind: Instrument['kind']) => (name: string, options?: MetricOptions) => {
    const instrument: Instrument = { name, kind, options, addCallback() {}, removeCallback() {} };
    instruments.set(name, instrument);
    return instrument;
  };
  const meter: Meter = Object.assign(createNoopMeter(), {
    createObservableCounter: make('counter'),
    createObservableGauge: make('gauge'),
    addBatchObservableCallback: (callback: BatchObservableCallback, observables: Observable[]) =>
      void callbacks.set(callback, observables),
    removeBatchObservableCallback: (callback: BatchObservableCallback) => void callbacks.delete(callback),
  });
  const collect = () => {
    const values: { name: string; value: number; attributes: Record<string, unknown> }[] = [];
    for (const [callback, observables] of callbacks) {
      const result: BatchObservableResult = {
        observe(instrument, value, attributes = {}) {
          expect(observables).toContain(instrument);
          values.push({ name: (instrument as Instrument).name, value, attributes });
        },
      };
      void callback(result);
    }
    return values;
  };
  return { meter, instruments, collect };
}

async function used(): Promise<Db> {
  const db = await open('memory:');
  await db.put('k', 'v');
  await db.get('k');
  return db;
}

afterEach(() => api.disable());

describe('the bridge', () => {
  it('has an instrument for each metric, with its unit and description', async () => {
    const { meter, instruments } = testMeter();
    const db = await used();
    await observeMetrics(db, { meter });
    const units = { bytes: 'By', seconds: 's', '': '1' } as const;
    for (const [name, { type, unit, help }] of Object.entries(METRICS)) {
      if (type === 'histogram') {
        const parts = ['bucket', 'count', 'sum'].map((part) => instruments.get(`${name}_${part}`));
        expect(parts.map((part) => [part?.kind, part?.options?.unit])).toEqual([
          ['counter', '1'],
          ['counter', '1'],
          ['counter', 's'],
        ]);
      } else {
        expect(instruments.get(name)).toMatchObject({ kind: type, options: { description: help, unit: units[unit] } });
      }
    }
    await db.close();
  });

  it('gives the values of the moment of each collection, with attributes', async () => {
    const { meter, collect } = testMeter();
    const db = await used();
    const observation = await observeMetrics(db, { meter, attributes: { database: 'orders' } });
    const value = (name: string, op: string) =>
      collect().filter((v) => v.name === name && v.attributes.op === op && v.attributes.database === 'orders');
    expect(value('shaledb_db_request_count', 'get').map((v) => v.value)).toEqual([1]);
    await db.get('k');
    expect(value('shaledb_db_request_count', 'get').map((v) => v.value)).toEqual([2]);
    const all = collect();
    const buckets = all.filter(({ name }) => name === 'shaledb_wal_flush_duration_seconds_bucket');
    expect(buckets.at(-1)).toMatchObject({ value: 1, attributes: { le: '+Inf', database: 'orders' } });
    expect(buckets.length).toBe(METRICS.shaledb_wal_flush_duration_seconds.bounds!.length + 1);
    const puts = all.filter((v) => v.name === 'shaledb_object_store_request_count' && v.attributes.op === 'put');
    expect(puts.reduce((sum, v) => sum + v.value, 0)).toBe(
      metricValue(db.metrics(), 'shaledb_object_store_request_count', { op: 'put' }),
    );
    observation.stop();
    observation.stop();
    expect(collect()).toEqual([]);
    await db.close();
  });

  it('uses the meter shaledb of the global provider', async () => {
    const { meter, collect } = testMeter();
    const asked: string[] = [];
    const provider: MeterProvider = {
      getMeter: (name) => {
        asked.push(name);
        return meter;
      },
    };
    api.setGlobalMeterProvider(provider);
    const db = await used();
    await observeMetrics(db);
    expect(asked).toEqual(['shaledb']);
    expect(collect().length).toBeGreaterThan(50);
    await db.close();
    // A handle that has ended still says what it has counted.
    expect(collect().length).toBeGreaterThan(50);
  });

  it('does nothing where no provider is registered', async () => {
    const db = await used();
    (await observeMetrics(db)).stop();
    await db.close();
  });

  it('refuses what is no handle, and bad options', async () => {
    const db = await used();
    for (const handle of [undefined, null, {}, { metrics: 1 }])
      expect(await rejection(observeMetrics(handle as never))).toMatchObject({ code: 'BAD_ARGUMENT' });
    for (const options of [{ meter: {} }, { attributes: { a: 1 } }, { attributes: 'x' }, { metre: 1 }])
      expect(await rejection(observeMetrics(db, options as never))).toMatchObject({ code: 'BAD_OPTION' });
    await db.close();
  });
});

describe('without the package', () => {
  it('rejects with the command that installs it', () => {
    // The source from a place from which @opentelemetry/api cannot be found.
    const place = mkdtempSync(join(tmpdir(), 'shaledb-otel-'));
    try {
      const root = join(import.meta.dirname, '..', '..', '..');
      mkdirSync(join(place, 'scripts'));
      mkdirSync(join(place, 'node_modules'));
      symlinkSync(join(root, 'node_modules', 'typescript'), join(place, 'node_modules', 'typescript'));
      for (const name of ['src', 'package.json', 'scripts/typescript-hooks.mjs'])
        symlinkSync(join(root, name), join(place, name));
      const program = `
        import { register } from 'node:module';
        register('./scripts/typescript-hooks.mjs', import.meta.url);
        const { observeMetrics } = await import('./src/opentelemetry.ts');
        const error = await observeMetrics({ metrics: () => ({}) }).catch((e) => e);
        console.log(JSON.stringify({ kind: error.kind, code: error.code, install: error.details.install, message: error.message, cause: error.cause.code }));`;
      const flags = ['--preserve-symlinks', '--preserve-symlinks-main', '--input-type=module', '-e', program];
      const child = spawnSync(process.execPath, flags, { cwd: place, encoding: 'utf8', timeout: 60_000 });
      expect(child.stderr).toBe('');
      expect(JSON.parse(child.stdout)).toMatchObject({
        kind: 'incompatible',
        code: 'PACKAGE_MISSING',
        install: 'npm install @opentelemetry/api',
        message: expect.stringContaining('Run: npm install @opentelemetry/api'),
        cause: 'ERR_MODULE_NOT_FOUND',
      });
    } finally {
      rmSync(place, { recursive: true, force: true });
    }
  });
});
