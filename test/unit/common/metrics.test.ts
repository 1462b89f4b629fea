/** The builder of metrics, histograms, and the rules of the catalogue. */
import { describe, expect, it } from 'vitest';
import { Histogram, LATENCY_BOUNDS } from '../../../src/common/histogram.ts';
import { METRICS, type MetricInfo } from '../../../src/common/metric-catalogue.ts';
import { histogramOf, MetricsBuilder, metricValue } from '../../../src/common/metrics.ts';

describe('a histogram', () => {
  it('counts a value at the first bound that is not below it', () => {
    const values = new Histogram([1, 2, 5]);
    for (const value of [0, 1, 1.5, 2, 5, 7, -3]) values.observe(value);
    expect(values.cumulative()).toEqual([3, 5, 6]);
    expect([values.count, values.sum]).toEqual([7, 16.5]);
  });
  it('adds those of another with the same bounds', () => {
    const values = new Histogram([1, 2]);
    const others = new Histogram([1, 2]);
    values.observe(1);
    others.observe(2);
    others.observe(3);
    values.add(others);
    expect([values.cumulative(), values.count, values.sum]).toEqual([[1, 2], 3, 6]);
    expect(() => values.add(new Histogram([1, 3]))).toThrow('same bounds');
  });
  it('has bounds that rise', () => {
    expect(() => new Histogram([2, 1])).toThrow('bounds of a histogram rise');
  });
});

describe('the builder', () => {
  it('gives plain data in the order of the catalogue', () => {
    const builder = new MetricsBuilder();
    builder.value('shaledb_db_l0_sst_count', 3);
    builder.value('shaledb_db_request_count', 1, { op: 'get' });
    builder.value('shaledb_db_request_count', 2, { op: 'scan' });
    builder.value('shaledb_db_durable_seq', undefined);
    const times = histogramOf('shaledb_wal_flush_duration_seconds');
    times.observe(0.02);
    builder.histogram('shaledb_wal_flush_duration_seconds', times);
    const metrics = builder.metrics();
    expect(Object.keys(metrics)).toEqual([
      'shaledb_db_request_count',
      'shaledb_wal_flush_duration_seconds',
      'shaledb_db_l0_sst_count',
    ]);
    expect(metrics.shaledb_db_l0_sst_count).toMatchObject({ type: 'gauge', samples: [{ labels: {}, value: 3 }] });
    expect(metrics.shaledb_wal_flush_duration_seconds?.histograms[0].buckets).toHaveLength(LATENCY_BOUNDS.length);
    expect(metricValue(metrics, 'shaledb_db_request_count')).toBe(3);
    expect(metricValue(metrics, 'shaledb_db_request_count', { op: 'scan' })).toBe(2);
    expect(metricValue(metrics, 'shaledb_wal_flush_duration_seconds')).toBe(1);
    expect(metricValue(metrics, 'shaledb_gc_count')).toBe(0);
  });
  it('refuses what the catalogue does not have, and what JSON does not', () => {
    const builder = new MetricsBuilder();
    expect(() => builder.value('shaledb_db_request_count', 1)).toThrow('labels that the catalogue names');
    expect(() => builder.value('shaledb_gc_count', 1, { op: 'x' })).toThrow('labels that the catalogue names');
    expect(() => builder.value('shaledb_gc_count', Number.NaN)).toThrow('a number that JSON has');
    expect(() => builder.value('shaledb_wal_flush_duration_seconds', 1)).toThrow('of a counter or gauge');
    expect(() => builder.histogram('shaledb_gc_count', new Histogram([1]))).toThrow('is one in the catalogue');
    expect(() => histogramOf('shaledb_gc_count')).toThrow('has bounds in the catalogue');
  });
});

describe('the catalogue', () => {
  const entries = Object.entries(METRICS) as [string, MetricInfo][];
  it('has names that Prometheus takes, with the unit last', () => {
    for (const [name, { unit, type, bounds, help }] of entries) {
      expect(name).toMatch(/^shaledb_[a-z0-9_]+[a-z0-9]$/);
      if (unit === 'bytes') expect(name).toMatch(/_bytes(_compacted)?$/);
      if (unit === 'seconds') expect(name).toMatch(/_(seconds|sec)$/);
      expect(bounds !== undefined, name).toBe(type === 'histogram');
      expect(help, name).toMatch(/^[A-Z].*[.]$/);
    }
  });
  it('has no counter that a histogram has as its count, its sum or its buckets', () => {
    const taken = entries
      .filter(([, { type }]) => type === 'histogram')
      .flatMap(([name]) => ['count', 'sum', 'bucket'].map((part) => `${name}_${part}`));
    expect(entries.map(([name]) => name).filter((name) => taken.includes(name))).toEqual([]);
  });
  it('uses no label that histograms have themselves', () => {
    expect(entries.filter(([, { labels }]) => labels.includes('le'))).toEqual([]);
  });
});
