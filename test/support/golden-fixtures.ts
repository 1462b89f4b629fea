/** The databases under `test/golden`: their objects and what is expected of them. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const GOLDEN = fileURLToPath(new URL('../golden/', import.meta.url));

export interface GoldenObject {
  /** Below the fixture's `store` directory. */
  path: string;
  bytes: Uint8Array;
}

export interface GoldenFixture {
  /** For example `slatedb-0.12.1/tiny`. */
  name: string;
  // biome-ignore lint/suspicious/noExplicitAny: free-form JSON
  expected: any;
  objects: GoldenObject[];
}

function load(group: string, name: string): GoldenFixture {
  return { ...fixtureIn(join(GOLDEN, group, name)), name: `${group}/${name}` };
}

/** A database stored elsewhere in the same form, by its directory. */
export function fixtureIn(dir: string): GoldenFixture {
  const store = join(dir, 'store');
  const objects = readdirSync(store, { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile())
    .map((e) => {
      const path = join(e.parentPath, e.name);
      return { path: path.slice(store.length + 1), bytes: new Uint8Array(readFileSync(path)) };
    });
  objects.sort((a, b) => (a.path < b.path ? -1 : 1));
  return { name: basename(dir), expected: JSON.parse(readFileSync(join(dir, 'expected.json'), 'utf8')), objects };
}

/** All fixtures, with all bytes. */
export function goldenFixtures(): GoldenFixture[] {
  return readdirSync(GOLDEN, { withFileTypes: true })
    .filter((group) => group.isDirectory())
    .flatMap((group) =>
      readdirSync(join(GOLDEN, group.name), { withFileTypes: true })
        .filter((e) => e.isDirectory())
        .map((e) => load(group.name, e.name)),
    );
}

export function goldenFixture(name: string): GoldenFixture {
  return load(name.split('/')[0], basename(name));
}

/** Bytes of one object of a fixture. */
export function goldenBytes(fixture: string, path: string): Uint8Array {
  return new Uint8Array(readFileSync(join(GOLDEN, fixture, 'store', path)));
}
