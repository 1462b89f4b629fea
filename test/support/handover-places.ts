/** Where an interop test keeps its database: a directory or a bucket, in the words of SlateDB and in ours. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect } from 'vitest';
import { manifestPath, parseWalPath, walPath } from '../../src/format/object-names.ts';
import { type LoadedManifest, listManifestIds, loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { readWalObject, type WalReadResult } from '../../src/lsm/wal/wal-object.ts';
import { contradictions, doubts } from '../../src/recovery/manifest-cross-check.ts';
import { rowNewerThanTables } from '../../src/recovery/wal-check.ts';
import { LocalStore } from '../../src/store/local-store.ts';
import type { DatabaseLocation } from '../../src/store/location.ts';
import { prefixedStore } from '../../src/store/prefixed-store.ts';
import { S3Store, type S3StoreOptions } from '../../src/store/s3-store.ts';
import { describeWithS3, describeWithSlateDb017, describeWithSlateDb018 } from './environment.ts';
import type { LiveSlateDb, SlateDbPlace, SlateDbRole } from './live-slatedb.ts';
import type { S3ForTests } from './s3-server.ts';
import { slateDb012 } from './slatedb-012.ts';
import { slateDb017 } from './slatedb-017.ts';
import { slateDb018 } from './slatedb-018.ts';

const PATH = 'db';

export interface SharedPlace {
  slate: SlateDbPlace;
  ours: DatabaseLocation;
  /** The same for a child process (`shaledb-writer.mjs`). */
  child: { path: string } & ({ directory: string } | { s3: S3StoreOptions });
  dispose(): Promise<void>;
}

export async function inDirectory(): Promise<SharedPlace> {
  const directory = mkdtempSync(join(tmpdir(), 'shaledb-interop-'));
  return {
    slate: { directory, path: PATH },
    ours: { store: new LocalStore(directory), path: PATH },
    child: { directory, path: PATH },
    dispose: async () => rmSync(directory, { recursive: true, force: true }),
  };
}

async function inBucket(s3: S3ForTests): Promise<SharedPlace> {
  const bucket = await s3.freshBucket();
  const { endpoint, region, accessKeyId, secretAccessKey } = s3;
  const options = { bucket, endpoint, region, credentials: { accessKeyId, secretAccessKey } };
  const store = new S3Store(options);
  return {
    slate: { s3, bucket, path: PATH },
    ours: { store, path: PATH },
    child: { s3: options, path: PATH },
    dispose: () => store.close(),
  };
}

export interface HandoverPartners {
  version: LiveSlateDb['version'];
  isOnS3: boolean;
  makeSlate(): LiveSlateDb;
  makePlace(): Promise<SharedPlace>;
}

const OLDER = { version: '0.12.1', makeSlate: slateDb012 } as const;
const NEWER = { version: '0.17.0', makeSlate: slateDb017 } as const;
const NEWEST = { version: '0.18.0', makeSlate: slateDb018 } as const;
const DIRECTORY = { isOnS3: false, makePlace: inDirectory };

/** One suite for each SlateDB, in a directory: for what a store cannot change. */
export function describeHandoversInDirectory(body: (partners: HandoverPartners) => void): void {
  describe('SlateDB 0.12.1 in a directory', () => body({ ...OLDER, ...DIRECTORY }));
  describeWithSlateDb017('SlateDB 0.17.0 in a directory', () => body({ ...NEWER, ...DIRECTORY }));
  describeWithSlateDb018('SlateDB 0.18.0 in a directory', () => body({ ...NEWEST, ...DIRECTORY }));
}

/** One suite for each SlateDB and place: 0.12.1, 0.17.0 and 0.18.0, a directory and S3. */
export function describeHandovers(body: (partners: HandoverPartners) => void): void {
  const bucket = (s3: S3ForTests) => ({ isOnS3: true, makePlace: () => inBucket(s3) });
  describeHandoversInDirectory(body);
  describeWithS3('SlateDB 0.12.1 on S3', (s3) => body({ ...OLDER, ...bucket(s3) }));
  describeCollectors(body);
}

/** One suite for each SlateDB that collects with a boundary, on S3, which alone can keep one. */
export function describeCollectors(body: (partners: HandoverPartners) => void): void {
  describeWithS3('SlateDB 0.17.0', (s3) => {
    describeWithSlateDb017('on S3', () => body({ ...NEWER, isOnS3: true, makePlace: () => inBucket(s3) }));
  });
  describeWithS3('SlateDB 0.18.0', (s3) => {
    describeWithSlateDb018('on S3', () => body({ ...NEWEST, isOnS3: true, makePlace: () => inBucket(s3) }));
  });
}

/** One suite for each SlateDB that knows workers, in a directory and on S3. */
export function describeHandoversSince017(body: (partners: HandoverPartners) => void): void {
  describeWithSlateDb017('SlateDB 0.17.0 in a directory', () => body({ ...NEWER, ...DIRECTORY }));
  describeWithSlateDb018('SlateDB 0.18.0 in a directory', () => body({ ...NEWEST, ...DIRECTORY }));
  describeCollectors(body);
}

/** One suite for each place, with SlateDB 0.18.0. */
export function describeHandoversWith018(body: (partners: HandoverPartners) => void): void {
  describeWithSlateDb018('SlateDB 0.18.0 in a directory', () => body({ ...NEWEST, ...DIRECTORY }));
  describeWithS3('SlateDB 0.18.0', (s3) => {
    describeWithSlateDb018('on S3', () => body({ ...NEWEST, isOnS3: true, makePlace: () => inBucket(s3) }));
  });
}

/** Paths of all that is stored, relative to the database. */
export async function storedPaths({ store, path: root }: DatabaseLocation): Promise<string[]> {
  const paths: string[] = [];
  for await (const { path } of prefixedStore(store, root).list('')) paths.push(path);
  return paths;
}

/** What each test of a suite has: a place of its own, and SlateDBs that are ended after it. */
export class Handover {
  readonly #partners: HandoverPartners;
  readonly #started: (LiveSlateDb | SlateDbRole)[] = [];
  #place: SharedPlace | undefined;

  /** Of the suite that is being described. `judge` checks what a test has left. */
  constructor(partners: HandoverPartners, judge: (place: SharedPlace) => Promise<void> = async () => undefined) {
    this.#partners = partners;
    beforeEach(async () => {
      this.#place = await partners.makePlace();
    });
    afterEach(async () => {
      for (const one of this.#started.splice(0)) await one.crash();
      await judge(this.place);
      await this.place.dispose();
    });
  }

  get place(): SharedPlace {
    return this.#place!;
  }

  newSlate(): LiveSlateDb {
    return this.ending(this.#partners.makeSlate());
  }

  /** Ends it after the test. */
  ending<T extends LiveSlateDb | SlateDbRole>(one: T): T {
    this.#started.push(one);
    return one;
  }

  storedPaths(): Promise<string[]> {
    return storedPaths(this.place.ours);
  }
}

/** What an opening holds against a manifest without a seal holds of none that is stored here. */
export async function expectManifestsToContinue({ store, path }: DatabaseLocation): Promise<void> {
  const root = prefixedStore(store, path);
  const log = new Map<number, WalReadResult>();
  for await (const object of root.list('wal/')) {
    const id = parseWalPath(object.path);
    if (id !== undefined) log.set(id, await readWalObject(id, (await root.get(walPath(id)))!.bytes));
  }
  let previous: LoadedManifest | undefined;
  for (const id of await listManifestIds(root)) {
    const loaded = loadManifest(id, (await root.get(manifestPath(id)))!.bytes);
    const before = previous?.id === id - 1 ? previous : undefined;
    previous = loaded;
    if (loaded.seal !== undefined) continue;
    const { manifest } = loaded;
    const covered = [...log.values()].filter((r) => r.id <= manifest.replayAfterWalId && (r.object?.rowCount ?? 0) > 0);
    const replayed = covered.map((r) => ({ id: r.id, maxSeq: r.object!.maxSeq })).at(-1);
    expect({
      id,
      broken: contradictions(id, manifest, { previous: before?.manifest, replayed }),
      doubts: doubts(loaded, before),
      hidden: rowNewerThanTables(log.values(), manifest),
    }).toEqual({ id, broken: [], doubts: [], hidden: undefined });
  }
}
