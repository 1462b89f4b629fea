/** The jobs in the seal of a compactions file: every field, every cut, lists that claim more than is there, and what names sources. */
import { describe, expect, it } from 'vitest';
import { concatBytes } from '../../../src/common/bytes.ts';
import { nextInt, SeededRandom } from '../../../src/common/random.ts';
import { makeUlid, type Ulid } from '../../../src/common/ulid.ts';
import { encodeCompactions } from '../../../src/format/compactions-codec.ts';
import {
  digestOfSources,
  type JobsRecord,
  type RunningJob,
  readJobs,
  writeJobs,
} from '../../../src/format/jobs-record.ts';
import type { Bound } from '../../../src/format/manifest-types.ts';
import { appendManifestSeal, decodeManifestSeal } from '../../../src/format/seal.ts';
import { SealReader, SealWriter } from '../../../src/format/seal-bytes.ts';
import { numberObjectId } from '../../../src/format/seal-records.ts';
import { parseView } from '../../support/manifest-script.ts';

const BAD_SEAL = expect.objectContaining({ code: 'BAD_SEAL' });
const random = new SeededRandom(5);
const bytes = (length: number) => {
  const out = new Uint8Array(length);
  random.fill(out);
  return out;
};
const bound = (): Bound => {
  const kind = (['unbounded', 'included', 'excluded'] as const)[nextInt(random, 3)]!;
  return kind === 'unbounded' ? { kind } : { kind, key: bytes(nextInt(random, 4)) };
};
const many = <T>(make: () => T): T[] => Array.from({ length: nextInt(random, 4) }, make);
const ulid = () => makeUlid(1_700_000_000_000, random);

const job = (): RunningJob => ({
  id: ulid(),
  segment: bytes(nextInt(random, 3)),
  destination: random.nextUint32(),
  isBottom: nextInt(random, 2) === 1,
  retentionMinSeq: nextInt(random, 1000) * 2 ** 40,
  tickMs: nextInt(random, 3) === 0 ? Number.NEGATIVE_INFINITY : random.nextUint32() - 2 ** 20,
  sourcesDigest: bytes(16),
  l0ViewIds: many(ulid),
  runs: many(() => random.nextUint32()),
  parts: many(() => ({
    range: { start: bound(), end: bound() },
    status: nextInt(random, 2) === 1 ? 'completed' : 'in-progress',
    outputs: many(() => ({ tableId: ulid(), bytes: random.nextUint32() })),
  })),
});

function encode(record: JobsRecord): Uint8Array {
  const w = new SealWriter();
  writeJobs(w, record);
  return w.finish();
}

const decode = (payload: Uint8Array) => {
  const r = new SealReader(payload, 0, payload.length);
  return { record: readJobs(r), left: r.remaining };
};

describe('the record of jobs', () => {
  it('round-trips every field, any number of jobs', () => {
    for (let i = 0; i < 200; i++) {
      const record = { jobs: many(job) };
      expect(decode(encode(record))).toEqual({ record, left: 0 });
    }
  });

  it('is refused wherever it is cut', () => {
    const whole = encode({ jobs: [{ ...job(), parts: [] }, job()] });
    for (let n = 0; n < whole.length; n++) expect(() => decode(whole.subarray(0, n))).toThrow(BAD_SEAL);
  });

  it('is refused with a list that claims more than is there, without room for it', () => {
    const claims = (at: number) => {
      const payload = encode({ jobs: [{ ...job(), segment: new Uint8Array(0), l0ViewIds: [], runs: [], parts: [] }] });
      new DataView(payload.buffer).setUint32(at, 0xffff_ffff);
      return payload;
    };
    // Jobs, prefix, views, runs, parts.
    for (const at of [0, 20, 61, 65, 69]) expect(() => decode(claims(at))).toThrow(BAD_SEAL);
  });

  it('is refused with a kind of bound or a status that is not known', () => {
    const range = { start: { kind: 'unbounded' }, end: { kind: 'unbounded' } } as const;
    const payload = encode({ jobs: [{ ...job(), parts: [{ range, status: 'completed', outputs: [] }] }] });
    for (const fromEnd of [7, 6, 5]) {
      const other = payload.slice();
      other[other.length - fromEnd] = 3;
      expect(() => decode(other)).toThrow(BAD_SEAL);
    }
  });

  it('is a part of the seal of a compactions file, and only where there are jobs', () => {
    const body = encodeCompactions({ headerVersion: 1, compactorEpoch: 2, jobs: [], hasUnknownFields: false });
    const identity = {
      databaseId: bytes(16),
      objectId: numberObjectId(2),
      putId: ulid(),
      epoch: 2,
      role: 'compactor',
      formatVersion: 0,
      codec: 'none',
      writtenAtMs: 5,
      newestManifestId: 3,
      software: [0, 1, 0],
    } as const;
    const jobs = { jobs: [job()] };
    const read = (more: object) => {
      const object = appendManifestSeal(body, { kind: 'compactions', identity, ...more });
      return decodeManifestSeal(object, body.length, 'compactions');
    };
    expect(read({ jobs })?.jobs).toEqual(jobs);
    expect(read({})?.jobs).toBeUndefined();
  });
});

describe('the digest of sources', () => {
  const digest = (...sources: string[]) =>
    Buffer.from(digestOfSources(sources.map((text) => text.split(' ').filter(Boolean).map(parseView)))).toString('hex');

  it('differs where a view, its table, its range, its source or the order does', () => {
    const all = [
      digest(),
      digest(''),
      digest('A'),
      digest('v:A'),
      digest('A:v'),
      digest('A[,b)'),
      digest('A[a,)'),
      digest('A[a,b)'),
      digest('A', 'B'),
      digest('B', 'A'),
      digest('A B'),
      digest('A', '', 'B'),
    ];
    expect(new Set(all).size).toBe(all.length);
    expect(all.every((text) => text.length === 32)).toBe(true);
  });

  it('is the same for the same sources', () => {
    expect(digest('A[a,b)', 'B C')).toBe(digest('A[a,b)', 'B C'));
  });

  it('is that of these bytes', () => {
    const id = '01J0000000000000000000000A' as Ulid;
    const [view] = [parseView('A')];
    expect([view.viewId, view.table.id]).toEqual([id, id]);
    expect(digest('A')).toBe(DIGEST_OF_A);
  });
});

/** SHA-256 of the count 1, twice the 16 bytes of the id, and 0 for no range. */
const ID_OF_A = Uint8Array.of(0x01, 0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0a);
const DIGEST_OF_A = await crypto.subtle
  .digest('SHA-256', concatBytes(Uint8Array.of(0, 0, 0, 1), ID_OF_A, ID_OF_A, Uint8Array.of(0)))
  .then((hash) => Buffer.from(hash).subarray(0, 16).toString('hex'));
