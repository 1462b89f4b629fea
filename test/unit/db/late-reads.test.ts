/** Reads that wait for their database: what reaches it, and when. */
import { expect, it } from 'vitest';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { LateReads } from '../../../src/db/late-reads.ts';
import type { RawReads } from '../../../src/db/read-path.ts';
import { Turns } from '../../../src/db/turns.ts';

function world() {
  const turns = new Turns(new ManualClock());
  const reached: string[] = [];
  let serve: (reads: RawReads) => void = () => undefined;
  const ready = new Promise<RawReads>((resolve) => {
    serve = resolve;
  });
  let served: RawReads | undefined;
  const note = (call: string) => async (key: unknown) => {
    reached.push(`${call} ${key}`);
    return key;
  };
  const reads = {
    get: note('get'),
    getMany: note('getMany'),
    has: note('has'),
    getWithMeta: note('getWithMeta'),
    scan: (o: { prefix: string }, convert?: (row: unknown) => unknown) => {
      reached.push(`scan ${o?.prefix} ${convert === undefined ? 'rows' : 'converted'}`);
      return { findings: [], toArray: async () => ['row'], seek: note('seek') };
    },
  } as never as RawReads;
  const late = new LateReads({
    turns,
    served: () => served,
    call: async (args, make) => make(await ready, args),
    own: (argument) => structuredClone(argument),
  });
  return {
    late,
    reached,
    serve: () => {
      served = reads;
      serve(reads);
    },
  };
}

it('calls reach the reads in order, once those are there', async () => {
  const w = world();
  const calls = [
    w.late.get('a', undefined),
    w.late.getMany(['b', 'c'], undefined),
    w.late.has('d', undefined),
    w.late.getWithMeta('e', undefined),
    w.late.scan({ prefix: 'f' }, () => 1).toArray(),
  ];
  expect(w.reached).toEqual([]);
  w.serve();
  await Promise.all(calls);
  expect(w.reached).toEqual(['get a', 'getMany b,c', 'has d', 'getWithMeta e', 'scan f converted']);
});

it('a scan that is made afterwards is that of the database itself', async () => {
  const w = world();
  w.serve();
  expect(await w.late.scan({ prefix: 'f' }).toArray()).toEqual(['row']);
  expect(w.reached).toEqual(['scan f rows']);
});

it('what a scan that waits seeks belongs to its caller again', async () => {
  const w = world();
  const key = new TextEncoder().encode('key');
  const sought = w.late.scan({ prefix: 'f' }).seek(key);
  key.fill(0);
  w.serve();
  await sought;
  expect(w.reached[1]).toBe('seek 107,101,121');
});

it('a scan that was refused refuses every call', async () => {
  const w = world();
  const scan = w.late.failedScan(new Error('refused'));
  await expect(scan.next()).rejects.toThrow('refused');
  await expect(scan.toArray()).rejects.toThrow('refused');
  expect(scan.findings).toEqual([]);
});
