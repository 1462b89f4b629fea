/** How much of a body is hashed in one go: counted in bytes between two turns of the event loop, whatever makes the hash. */
import type { Hash } from 'node:crypto';
import { beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import type { PutOptions } from '../../../src/store/object-store.ts';
import { loadS3Sdk, loadS3Upload } from '../../../src/store/s3-client.ts';
import { HASH_SLICE_BYTES } from '../../../src/store/s3-payload.ts';
import type { S3StoreOptions } from '../../../src/store/s3-store.ts';
import { FakeS3 } from '../../support/fake-s3.ts';

/** What was hashed, in bytes, and where the event loop had a turn. */
const events: ({ sha256: number } | { crc32: number } | 'turn')[] = [];

vi.mock('node:crypto', async (load) => {
  const crypto = await load<typeof import('node:crypto')>();
  const createHash = (name: string): Hash => {
    const hash = crypto.createHash(name);
    const update = hash.update.bind(hash);
    return Object.assign(hash, {
      update: (bytes: Uint8Array) => {
        if (name === 'sha256') events.push({ sha256: bytes.length });
        return update(bytes);
      },
    });
  };
  return { ...crypto, createHash };
});
vi.mock('node:zlib', async (load) => {
  const zlib = await load<typeof import('node:zlib')>();
  const crc32 = (bytes: Uint8Array, before?: number) => {
    events.push({ crc32: bytes.length });
    return zlib.crc32(bytes, before);
  };
  return { ...zlib, crc32 };
});

const MIB = 1 << 20;
const CREATE: PutOptions = { condition: 'if-absent', putId: '01ARZ3NDEKTSV4RRFFQ69G5FAV' };
const AWS: Partial<S3StoreOptions> = { endpoint: undefined as never, region: 'us-east-1', forcePathStyle: true };
/** Bytes that the signer of the SDK took SHA-256 of, each time. */
const signed: number[] = [];

class CountingSha256 {
  readonly #inner: { update(bytes: Uint8Array): void; digest(): Promise<Uint8Array> };

  constructor(secret?: unknown) {
    this.#inner = new CountingSha256.Real(secret);
  }
  static Real: new (
    secret?: unknown,
  ) => { update(bytes: Uint8Array): void; digest(): Promise<Uint8Array> };

  update(bytes: Uint8Array): void {
    signed.push(bytes.length);
    this.#inner.update(bytes);
  }
  digest(): Promise<Uint8Array> {
    return this.#inner.digest();
  }
}

beforeAll(async () => {
  await Promise.all([loadS3Sdk('fake'), loadS3Upload('fake')]);
}, 120_000);
beforeEach(async () => {
  events.length = 0;
  signed.length = 0;
  const { S3Client } = await import('@aws-sdk/client-s3');
  CountingSha256.Real = new S3Client({ region: 'us-east-1' }).config.sha256 as never;
});

/** Stores `length` bytes by the `way`. */
async function stored(length: number, way: 'put' | 'upload', options: Partial<S3StoreOptions>) {
  const clock = new ManualClock();
  const yieldToLoop = clock.yieldToLoop.bind(clock);
  clock.yieldToLoop = () => {
    events.push('turn');
    return yieldToLoop();
  };
  const s3 = new FakeS3();
  const store = s3.store({ clock, clientConfig: { sha256: CountingSha256 as never }, ...options });
  const all = async () => {
    if (way === 'put') return store.put('a', new Uint8Array(length), CREATE);
    const upload = store.upload('a', CREATE);
    for (let at = 0; at < length; at += MIB) await upload.write(new Uint8Array(Math.min(MIB, length - at)));
    return upload.complete();
  };
  expect((await clock.runUntilSettled(all())).outcome).toBe('applied');
  await store.close();
  return s3;
}

function total(kind: 'sha256' | 'crc32'): number {
  return events.reduce(
    (sum, event) => sum + (event === 'turn' ? 0 : ((event as Record<string, number>)[kind] ?? 0)),
    0,
  );
}

/** Most bytes of one kind between two turns. */
function mostInOneTurn(kind: 'sha256' | 'crc32'): number {
  let most = 0;
  let sum = 0;
  for (const event of events) {
    sum = event === 'turn' ? 0 : sum + ((event as Record<string, number>)[kind] ?? 0);
    most = Math.max(most, sum);
  }
  return most;
}

describe.each(['put', 'upload'] as const)('the largest part, of a single PUT, by %s', (way) => {
  it('is hashed in slices without TLS', async () => {
    const s3 = await stored(16 * MIB, way, {});
    expect(s3.steps).toEqual(['put']);
    expect([total('sha256'), mostInOneTurn('sha256'), total('crc32')]).toEqual([16 * MIB, HASH_SLICE_BYTES, 0]);
    expect(Math.max(...signed), 'what the SDK hashes are headers').toBeLessThan(10_000);
  });

  it('is not hashed at all over TLS', async () => {
    await stored(16 * MIB, way, { endpoint: 'https://server.test' });
    expect([total('sha256'), total('crc32')]).toEqual([0, 0]);
    expect(Math.max(...signed)).toBeLessThan(10_000);
  });

  it('has its CRC taken in slices on AWS', async () => {
    await stored(16 * MIB, way, AWS);
    expect([total('sha256'), total('crc32'), mostInOneTurn('crc32')]).toEqual([0, 16 * MIB, HASH_SLICE_BYTES]);
    expect(Math.max(...signed)).toBeLessThan(10_000);
  });
});

it('several parts side by side take turns, a slice of each', async () => {
  const s3 = await stored(40 * MIB, 'upload', {});
  expect(s3.steps).toEqual(['create', 'part', 'part', 'part', 'complete']);
  expect(total('sha256')).toBe(40 * MIB);
  expect(mostInOneTurn('sha256')).toBeLessThanOrEqual(2 * HASH_SLICE_BYTES);
});

it('up to a slice is left to the SDK, in one go', async () => {
  await stored(HASH_SLICE_BYTES, 'put', {});
  expect([total('sha256'), Math.max(...signed)]).toEqual([0, HASH_SLICE_BYTES]);
});
