/**
 * Every damage of one kind that a database can suffer: each bit flipped, each object cut to each length, each object deleted,
 * each pair of objects of one role exchanged. Named, so that one can be repeated alone.
 */
import { roleOfPath } from '../../src/format/object-names.ts';
import type { Reference, StoredObject } from './references.ts';

export type DamageKind = 'flip' | 'cut' | 'delete' | 'swap';
export const DAMAGE_KINDS: readonly DamageKind[] = ['flip', 'cut', 'delete', 'swap'];

export interface Damage {
  kind: DamageKind;
  /** For example `flip wal/00000000000000000002.sst 17.3`. */
  name: string;
  /** Objects that differ from the reference; the first is the one that errors must name. */
  paths: string[];
  /** Where the first damaged byte lies; 0 for whole objects. */
  offset: number;
  objects: StoredObject[];
}

/** Lazily, because all of them together are large. */
export function* damagesOf({ objects }: Reference, kind: DamageKind): Generator<Damage> {
  for (let i = 0; i < objects.length; i++) {
    if (kind === 'flip') yield* flips(objects, i);
    if (kind === 'cut') yield* cuts(objects, i);
    if (kind === 'delete') {
      const { path } = objects[i];
      yield { kind, name: `delete ${path}`, paths: [path], offset: 0, objects: objects.filter((_, k) => k !== i) };
    }
    if (kind === 'swap') yield* swaps(objects, i);
  }
}

function* flips(objects: StoredObject[], i: number): Generator<Damage> {
  const { path, bytes } = objects[i];
  for (let bit = 0; bit < 8 * bytes.length; bit++) {
    const damaged = bytes.slice();
    const offset = bit >> 3;
    damaged[offset] ^= 1 << (bit & 7);
    const name = `flip ${path} ${offset}.${bit & 7}`;
    yield { kind: 'flip', name, paths: [path], offset, objects: withBytes(objects, i, damaged) };
  }
}

function* cuts(objects: StoredObject[], i: number): Generator<Damage> {
  const { path, bytes } = objects[i];
  for (let length = 0; length < bytes.length; length++) {
    const cut = withBytes(objects, i, bytes.slice(0, length));
    yield { kind: 'cut', name: `cut ${path} ${length}`, paths: [path], offset: length, objects: cut };
  }
}

function* swaps(objects: StoredObject[], i: number): Generator<Damage> {
  const first = objects[i];
  for (let k = i + 1; k < objects.length; k++) {
    const second = objects[k];
    if (roleOfPath(first.path) !== roleOfPath(second.path)) continue;
    const swapped = withBytes(withBytes(objects, i, second.bytes), k, first.bytes);
    yield {
      kind: 'swap',
      name: `swap ${first.path} ${second.path}`,
      paths: [first.path, second.path],
      offset: 0,
      objects: swapped,
    };
  }
}

function withBytes(objects: StoredObject[], i: number, bytes: Uint8Array): StoredObject[] {
  return objects.map((o, k) => (k === i ? { ...o, bytes } : o));
}
