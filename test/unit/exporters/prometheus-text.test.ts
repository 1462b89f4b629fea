/** The text for Prometheus, read by a parser of its own that follows the description of the format, version 0.0.4. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { METRICS } from '../../../src/common/metric-catalogue.ts';
import { histogramOf, type Metrics, MetricsBuilder } from '../../../src/common/metrics.ts';
import { MemoryStore, open, openReader } from '../../../src/index.ts';
import { PROMETHEUS_CONTENT_TYPE, prometheusText } from '../../../src/prometheus.ts';

interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

interface Family {
  help: string;
  type: string;
  samples: Sample[];
}

const unescaped = (text: string) => text.replace(/\\(\\|n|")/g, (_all, c: string) => (c === 'n' ? '\n' : c));

function parseLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  let rest = text;
  while (rest !== '') {
    const match = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\n"])*)"(,|$)/.exec(rest);
    if (match === null) throw new Error(`bad labels: ${rest}`);
    if (Object.hasOwn(labels, match[1])) throw new Error(`${match[1]} twice`);
    labels[match[1]] = unescaped(match[2]);
    rest = rest.slice(match[0].length);
  }
  return labels;
}

/** Fails where Prometheus would: a family in pieces, a sample twice, a line of no form. */
function parse(text: string): Map<string, Family> {
  expect(text === '' || text.endsWith('\n')).toBe(true);
  const families = new Map<string, Family>();
  const seen = new Set<string>();
  let current: Family | undefined;
  let name = '';
  for (const line of text.split('\n').slice(0, -1)) {
    const head = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line);
    if (head?.[1] === 'HELP') {
      name = head[2];
      if (families.has(name)) throw new Error(`${name} twice`);
      current = {
        help: head[3].replace(/\\(\\|n)/g, (_all, c: string) => (c === 'n' ? '\n' : c)),
        type: '',
        samples: [],
      };
      families.set(name, current);
    } else if (head !== null && current !== undefined) {
      expect(head[2]).toBe(name);
      expect(head[3]).toMatch(/^(counter|gauge|histogram)$/);
      current.type = head[3];
    } else {
      const match = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/s.exec(line);
      if (match === null || current === undefined) throw new Error(`no line of the format: ${line}`);
      const suffix = match[1].slice(name.length);
      expect(match[1].startsWith(name) && ['', '_bucket', '_sum', '_count'].includes(suffix), line).toBe(true);
      expect(suffix === '', line).toBe(current.type !== 'histogram');
      if (seen.has(`${match[1]}{${match[2]}`)) throw new Error(`twice: ${line}`);
      seen.add(`${match[1]}{${match[2]}`);
      const value = match[3] === '+Inf' ? Number.POSITIVE_INFINITY : Number(match[3]);
      expect(Number.isNaN(value)).toBe(match[3] === 'NaN');
      current.samples.push({ name: match[1], labels: parseLabels(match[2] ?? ''), value });
    }
  }
  return families;
}

function built(): Metrics {
  const builder = new MetricsBuilder();
  builder.value('shaledb_db_l0_sst_count', 3);
  builder.value('shaledb_db_request_count', 10, { op: 'get' });
  builder.value('shaledb_db_request_count', 2 ** 53, { op: 'scan' });
  const times = histogramOf('shaledb_wal_flush_duration_seconds');
  for (const seconds of [0.0005, 0.02, 0.02, 100]) times.observe(seconds);
  builder.histogram('shaledb_wal_flush_duration_seconds', times);
  return builder.metrics();
}

describe('the text', () => {
  it('has help, type and samples of each metric', () => {
    const text = prometheusText(built());
    expect(text.split('\n').slice(0, 4)).toEqual([
      `# HELP shaledb_db_request_count ${METRICS.shaledb_db_request_count.help}`,
      '# TYPE shaledb_db_request_count counter',
      'shaledb_db_request_count{op="get"} 10',
      'shaledb_db_request_count{op="scan"} 9007199254740992',
    ]);
    expect(text).toContain('\n# TYPE shaledb_db_l0_sst_count gauge\nshaledb_db_l0_sst_count 3\n');
    expect(PROMETHEUS_CONTENT_TYPE).toBe('text/plain; version=0.0.4; charset=utf-8');
  });

  it('has the buckets of a histogram up to its count, and its sum', () => {
    const family = parse(prometheusText(built())).get('shaledb_wal_flush_duration_seconds');
    const buckets = family?.samples.filter(({ name }) => name.endsWith('_bucket')) ?? [];
    const values = Object.fromEntries(buckets.map(({ labels, value }) => [labels.le, value]));
    expect(values).toMatchObject({ '0.001': 1, '0.01': 1, '0.025': 3, '1': 3, '60': 3, '+Inf': 4 });
    const counts = buckets.map(({ value }) => value);
    expect(counts).toEqual([...counts].sort((a, b) => a - b));
    const rest = family?.samples.filter(({ name }) => !name.endsWith('_bucket'));
    expect(rest).toEqual([
      { name: 'shaledb_wal_flush_duration_seconds_sum', labels: {}, value: expect.closeTo(100.0405, 9) },
      { name: 'shaledb_wal_flush_duration_seconds_count', labels: {}, value: 4 },
    ]);
  });

  it('escapes whatever is in labels, and keeps it apart', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }),
        fc.string({ unit: fc.constantFrom('"', '\\', '\n', 'n', ',', '}') }),
        (a, b) => {
          const families = parse(prometheusText(built(), { a, b }));
          for (const { samples } of families.values())
            for (const { labels } of samples) expect(labels).toMatchObject({ a, b });
          expect(families.get('shaledb_db_request_count')?.samples.map(({ labels }) => labels.op)).toEqual([
            'get',
            'scan',
          ]);
        },
      ),
      { numRuns: 80 },
    );
  });

  it('escapes help', () => {
    const metrics = built();
    const metric = metrics.shaledb_db_l0_sst_count;
    if (metric !== undefined) metric.help = 'a\\b\nc"d';
    const text = prometheusText(metrics);
    expect(text).toContain('# HELP shaledb_db_l0_sst_count a\\\\b\\nc"d\n');
    expect(parse(text).get('shaledb_db_l0_sst_count')?.help).toBe('a\\b\nc"d');
  });

  it('of several handles has each metric once', async () => {
    const store = new MemoryStore();
    const db = await open({ store, path: 'db' });
    await db.put('k', 'v');
    const reader = await openReader({ store, path: 'db' });
    await reader.get('k');
    const sources = [
      { metrics: db.metrics(), labels: { handle: 'writer' } },
      // As another process would send it.
      { metrics: JSON.parse(JSON.stringify(reader.metrics())) as Metrics, labels: { handle: 'reader' } },
    ];
    const families = parse(prometheusText(sources, { service: 's' }));
    const gets = families.get('shaledb_db_request_count')?.samples.filter(({ labels }) => labels.op === 'get');
    expect(gets).toEqual([
      { name: 'shaledb_db_request_count', labels: { handle: 'writer', op: 'get', service: 's' }, value: 0 },
      { name: 'shaledb_db_request_count', labels: { handle: 'reader', op: 'get', service: 's' }, value: 1 },
    ]);
    for (const name of families.keys()) expect(Object.keys(METRICS)).toContain(name);
    await reader.close();
    await db.close();
  });

  it('of nothing is empty', () => {
    expect(prometheusText({})).toBe('');
    expect(prometheusText([])).toBe('');
  });
});

describe('refused', () => {
  const refusal = (call: () => unknown, message: string) => {
    expect(call).toThrow(expect.objectContaining({ kind: 'invalid', code: 'BAD_ARGUMENT' }));
    expect(call).toThrow(message);
  };
  it.each(['', '1a', 'a-b', '__name__', 'le', 'quantile', 'é'])('the label %j', (label) => {
    refusal(() => prometheusText(built(), { [label]: 'x' }), 'is no name that a label of yours can have');
  });
  it('a label that is no string, or a metric has already', () => {
    refusal(() => prometheusText(built(), { a: 1 } as never), 'must be a string');
    refusal(() => prometheusText(built(), 'a' as never), 'must be an object');
    refusal(() => prometheusText(built(), { op: 'x' }), 'shaledb_db_request_count has a label op already');
  });
  it('two handles that nothing sets apart', () => {
    refusal(() => prometheusText([{ metrics: built() }, { metrics: built() }]), 'give each labels of its own');
  });
  it.each([[undefined], [null], [{ a: 1 }], [[undefined]], [[{ labels: {} }]], ['text']])(
    '%j in place of metrics',
    (given) => {
      refusal(() => prometheusText(given as never), 'must be what metrics() of a handle has answered');
    },
  );
});
