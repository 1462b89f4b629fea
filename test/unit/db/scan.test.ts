/**
 * A scan as a script over one memtable with the keys a to h: `next`, `batch N`, `seek K`, `close`, `abort`, `end` (the database ends) on the
 * left, what the call gives on the right: keys, `done`, `ok`, or the code of the refusal.
 */
import { describe, expect, it } from 'vitest';
import { ClosedError, CorruptionError } from '../../../src/common/errors.ts';
import { makeFinding, WHOLE_OBJECT } from '../../../src/common/finding.ts';
import { SILENT_LOGGER } from '../../../src/common/logger.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { CorruptionWatch } from '../../../src/db/corruption-watch.ts';
import { ReadCounts } from '../../../src/db/counts.ts';
import { Scan, type ScanInput } from '../../../src/db/scan.ts';
import type { ScanIterator } from '../../../src/db/scan-iterator.ts';
import { Turns } from '../../../src/db/turns.ts';
import { FLAG_TOMBSTONE, NO_TS } from '../../../src/format/row-flags.ts';
import { Memtable } from '../../../src/lsm/memtable/memtable.ts';
import { DamageRegister } from '../../../src/lsm/tree/damage-register.ts';
import { EMPTY_TREE } from '../../../src/lsm/tree/table-store.ts';
import { text } from '../../support/database.ts';

const utf8 = (s: string) => new TextEncoder().encode(s);

function memtableOf(keys: string, flags = 0, firstSeq = 1): Memtable {
  const memtable = new Memtable();
  let seq = firstSeq;
  for (const key of keys) memtable.add(utf8(key), utf8(key), seq++, flags, NO_TS, NO_TS);
  return memtable;
}

class World {
  readonly clock = new ManualClock();
  readonly stop = new AbortController();
  readonly watch = new CorruptionWatch(new DamageRegister(), undefined, SILENT_LOGGER);
  readonly scan: ScanIterator;
  ended: Error | undefined;

  readonly input: ScanInput;

  constructor(options: Partial<ScanInput> = {}) {
    this.input = {
      view: { memtables: [memtableOf('abcdefgh')], tree: EMPTY_TREE },
      range: { gte: undefined, lt: undefined },
      reverse: false,
      limit: Number.POSITIVE_INFINITY,
      maxSeq: 100,
      nowMs: undefined,
      mergeOperator: undefined,
      clock: this.clock,
      turns: new Turns(this.clock),
      signal: this.stop.signal,
      isStrict: false,
      skipDamage: false,
      watch: this.watch,
      counts: new ReadCounts(),
      assertServing: () => {
        if (this.ended !== undefined) throw this.ended;
      },
      onError: async (error) => error,
      ...options,
    };
    this.scan = new Scan(this.input);
  }

  async do(line: string): Promise<string> {
    const [what, of] = line.split(' ');
    try {
      if (what === 'next') {
        const { value, done } = await this.scan.next();
        return done ? 'done' : (text(value.key) as string);
      }
      if (what === 'batch') {
        const rows = await this.scan.nextBatch(Number(of));
        return rows.length === 0 ? 'done' : rows.map((row) => text(row.key)).join('');
      }
      if (what === 'seek') await this.scan.seek(of);
      else if (what === 'close') await this.scan.close();
      else if (what === 'resume') await this.scan.resume('include');
      else if (what === 'abort') this.stop.abort();
      else this.ended = new ClosedError('CLOSED', 'ended');
      return 'ok';
    } catch (error) {
      return (error as { code: string }).code;
    }
  }

  async run(script: string): Promise<string> {
    const done: string[] = [];
    for (const step of script.split(';')) {
      const line = step.split('=>')[0].trim();
      done.push(`${line} => ${await this.do(line)}`);
    }
    return done.join('; ');
  }
}

const range = (gte: string, lt: string) => ({ range: { gte: utf8(gte), lt: utf8(lt) } });

describe('a scan', () => {
  it.each<[string, Partial<ScanInput>, string]>([
    [
      'gives its rows one by one and in batches',
      {},
      'next => a; batch 3 => bcd; next => e; batch 9 => fgh; next => done; batch 1 => done',
    ],
    ['backwards as well', { reverse: true }, 'batch 2 => hg; next => f; seek c => ok; batch 9 => cba; next => done'],
    ['within its range', range('c', 'f'), 'batch 9 => cde; next => done'],
    [
      'up to its limit, in which rows that a seek passes over do not count',
      { limit: 3 },
      'next => a; seek e => ok; batch 9 => ef; next => done',
    ],
    ['nothing where nothing is in its range', { range: undefined }, 'next => done; batch 5 => done'],
    ['nothing with a limit of nothing', { limit: 0 }, 'next => done'],
    ['rows up to its number', { maxSeq: 3 }, 'batch 9 => abc'],
    [
      'no deleted key',
      { view: { memtables: [memtableOf('ac', FLAG_TOMBSTONE, 10), memtableOf('abc')], tree: EMPTY_TREE } },
      'batch 9 => b',
    ],
    [
      'goes on after a seek, within what was read ahead and beyond it',
      {},
      'next => a; seek c => ok; next => c; batch 2 => de; seek h => ok; next => h; next => done',
    ],
    [
      'only goes on: what was given, passed over or sought is before it',
      {},
      'batch 3 => abc; seek b => BAD_ARGUMENT; seek f => ok; seek e => BAD_ARGUMENT; next => f',
    ],
    [
      'seeks only in its range',
      range('c', 'f'),
      'seek b => BAD_ARGUMENT; seek f => BAD_ARGUMENT; seek d => ok; next => d',
    ],
    ['is done once it is closed', {}, 'next => a; close => ok; next => done; batch 2 => done; close => ok'],
    ['ends with its signal', {}, 'next => a; abort => ok; next => ABORTED; batch 2 => ABORTED'],
    ['ends with its database', {}, 'next => a; end => ok; next => CLOSED; batch 1 => CLOSED; seek c => CLOSED'],
    ['refuses a batch of no row', {}, 'batch 0 => BAD_ARGUMENT; batch 1.5 => BAD_ARGUMENT; next => a'],
    ['has nothing to resume where no damage was met', {}, 'next => a; resume => BAD_ARGUMENT; next => b'],
  ])('%s', async (_, options, script) => {
    expect(await new World(options).run(script)).toBe(script);
  });

  it('answers calls in their order, however many are made at once', async () => {
    const { scan } = new World();
    const [a, bc, , rest] = await Promise.all([scan.next(), scan.nextBatch(2), scan.seek('f'), scan.nextBatch(9)]);
    expect([text(a.value?.key), ...[...bc, ...rest].map((row) => text(row.key))].join('')).toBe('abcfgh');
  });

  it('never depends on rows that it gave: they belong to the caller', async () => {
    const { scan } = new World();
    const keys: (string | undefined)[] = [];
    for (let batch = await scan.nextBatch(2); batch.length > 0; batch = await scan.nextBatch(2)) {
      keys.push(...batch.map((row) => text(row.key)));
      for (const { key, value } of batch) {
        key.fill(255);
        value.fill(255);
      }
    }
    expect(keys.join('')).toBe('abcdefgh');
  });

  it('ends a loop that breaks', async () => {
    const { scan } = new World();
    for await (const row of scan) if (text(row.key) === 'b') break;
    expect(await scan.next()).toEqual({ value: undefined, done: true });
  });
});

describe('a loss of rows with unknown keys', () => {
  const finding = makeFinding({
    code: 'MISSING_OBJECT',
    object: { role: 'wal', path: 'wal/1.sst', id: '1', sealed: false },
    at: WHOLE_OBJECT,
  });
  const error = new CorruptionError('rows were lost', [finding]);
  const tree = { ...EMPTY_TREE, unplaced: [{ seqs: { min: 3, max: 4 }, error, entryId: 'x', finding }] as never };
  const view = { memtables: [memtableOf('abcdefgh')], tree };

  it('flags the rows that may have had a newer version among those lost, and is listed', async () => {
    const w = new World({ view });
    const rows = await w.scan.nextBatch(9);
    expect(rows.map((row) => `${text(row.key)}${row.possiblyStale ? '?' : ''}`).join(' ')).toBe('a? b? c? d e f g h');
    expect([w.scan.findings.length > 0, w.watch.report().counts.possiblyStale]).toEqual([true, 4]);
  });

  it('is an error where no row is wanted that may be stale', async () => {
    const w = new World({ view, isStrict: true });
    await expect(w.scan.next()).rejects.toBeInstanceOf(CorruptionError);
    expect(await w.run('next; batch 3')).toBe('next => done; batch 3 => done');
  });

  it('that the scan cannot see is nothing to it', async () => {
    const w = new World({ view, maxSeq: 2 });
    expect([await w.run('batch 9'), w.scan.findings]).toEqual(['batch 9 => ab', []]);
  });
});

describe('a scan that converts its rows', () => {
  /** Fails at every key of `bad`. */
  const converting = (bad: string, options: Partial<ScanInput> = {}) => {
    const w = new World(options);
    const scan = new Scan(w.input, ({ key }) => {
      if (bad.includes(text(key) as string)) throw new ClosedError('CLOSED', `bad ${text(key)}`);
      return text(key) as string;
    });
    return { w, scan };
  };
  const outcome = (call: Promise<readonly string[]>) =>
    call.then(
      (keys) => keys.join(''),
      (e: Error) => e.message,
    );

  it('hands out the results one by one and in batches', async () => {
    const { scan } = converting('');
    expect(await scan.next()).toEqual({ value: 'a', done: false });
    expect(await scan.nextBatch(3)).toEqual(['b', 'c', 'd']);
    expect(await scan.toArray()).toEqual(['e', 'f', 'g', 'h']);
    expect(await scan.next()).toEqual({ value: undefined, done: true });
  });

  it('fails once for a row that cannot be converted, after those before it, and goes on after it', async () => {
    const { scan } = converting('cdh');
    const calls = [5, 5, 5, 5, 5, 5].map((n) => outcome(scan.nextBatch(n)));
    expect(await Promise.all(calls)).toEqual(['ab', 'bad c', 'bad d', 'efg', 'bad h', '']);
  });

  it('does so row by row, too', async () => {
    const { scan } = converting('b');
    const next = () =>
      scan.next().then(
        (r) => r.value,
        (e: Error) => e.message,
      );
    expect([await next(), await next(), await next()]).toEqual(['a', 'bad b', 'c']);
  });

  it('counts such a row for its limit, and can seek to it but not before the last row that was handed out', async () => {
    const { scan } = converting('c', { limit: 4 });
    expect(await outcome(scan.nextBatch(4))).toBe('ab');
    await scan.seek('b');
    await expect(scan.seek('a')).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    await scan.seek('c');
    expect(await outcome(scan.nextBatch(4))).toBe('bad c');
    expect(await outcome(scan.nextBatch(4))).toBe('d');
    expect(await outcome(scan.nextBatch(4))).toBe('');
  });

  it('knows where it is when a batch ended before the first row that was read ahead', async () => {
    const keys = Array.from({ length: 1100 }, (_, i) => `k${String(i).padStart(4, '0')}`);
    const memtable = new Memtable();
    for (const key of keys) memtable.add(utf8(key), utf8(key), 1, 0, NO_TS, NO_TS);
    const w = new World({ view: { memtables: [memtable], tree: EMPTY_TREE } });
    const scan = new Scan(w.input, ({ key }) => {
      if (text(key) === keys[1024]) throw new ClosedError('CLOSED', 'bad');
      return text(key);
    });
    expect(await scan.nextBatch(2000)).toEqual(keys.slice(0, 1024));
    await expect(scan.seek(keys[1022])).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    await scan.seek(keys[1023]);
    await scan.seek(keys[1024]);
    await expect(scan.nextBatch(1)).rejects.toThrow('bad');
    expect(await scan.toArray()).toEqual(keys.slice(1025));
  });

  it('rejects a whole array with the first failure, and goes on after it', async () => {
    const { scan } = converting('c');
    expect(await outcome(scan.toArray())).toBe('bad c');
    expect(await outcome(scan.toArray())).toBe('defgh');
  });
});
