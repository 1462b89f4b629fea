/**
 * Every damage of one kind that a database can suffer: each bit flipped, each object cut to each length, each object deleted,
 * each pair of objects of one role exchanged, and whole kinds of objects gone. Named, so that one can be repeated alone.
 */
import {
  IDENTITY_PATH,
  manifestPath,
  parseManifestPath,
  parseWalPath,
  roleOfPath,
  tablePath,
} from '../../src/format/object-names.ts';
import { loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { type WholeLossKind, wholeLosses } from '../support/whole-kinds.ts';
import type { Reference, StoredObject } from './references.ts';

export type DamageKind = 'flip' | 'cut' | 'delete' | 'swap' | WholeLossKind;
export const WHOLE_LOSSES: readonly WholeLossKind[] = ['all-of-kind', 'only-kind', 'half'];
export const DAMAGE_KINDS: readonly DamageKind[] = ['flip', 'cut', 'delete', 'swap', ...WHOLE_LOSSES];

/** Whether it takes away many objects at once. */
export function isWholeLoss(kind: DamageKind): kind is WholeLossKind {
  return WHOLE_LOSSES.some((k) => k === kind);
}

export interface Damage {
  kind: DamageKind;
  /** For example `flip wal/00000000000000000002.sst 17.3`. */
  name: string;
  /** Objects that differ from the reference; the first is the one that errors must name. */
  paths: string[];
  /** Where the first damaged byte is; 0 for whole objects. */
  offset: number;
  objects: StoredObject[];
}

/** Lazily, because all of them together are large. Only needed objects are deleted: a collector deletes the others. */
export function* damagesOf({ objects }: Reference, kind: DamageKind): Generator<Damage> {
  if (isWholeLoss(kind)) {
    const paths = objects.filter((o) => !o.isOthers).map((o) => o.path);
    for (const { name, gone } of wholeLosses(paths, kind))
      yield { kind, name, paths: gone, offset: 0, objects: objects.filter((o) => !gone.includes(o.path)) };
    return;
  }
  const needed = kind === 'delete' ? neededPaths(objects) : undefined;
  for (let i = 0; i < objects.length; i++) {
    if (objects[i].isOthers) continue;
    if (kind === 'flip') yield* flips(objects, i);
    if (kind === 'cut') yield* cuts(objects, i);
    if (needed?.has(objects[i].path)) {
      const { path } = objects[i];
      yield {
        kind: 'delete',
        name: `delete ${path}`,
        paths: [path],
        offset: 0,
        objects: objects.filter((_, k) => k !== i),
      };
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
    if (second.isOthers || roleOfPath(first.path) !== roleOfPath(second.path)) continue;
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

/** What the newest manifest needs: itself, its tables, the log after its replay point; and the identity. */
function neededPaths(objects: StoredObject[]): Set<string> {
  const newest = Math.max(...objects.map((o) => parseManifestPath(o.path) ?? 0));
  const path = manifestPath(newest);
  const { manifest } = loadManifest(newest, objects.find((o) => o.path === path)!.bytes);
  const named = [...manifest.l0, ...manifest.runs.flatMap((run) => run.views)].map((v) => tablePath(v.table.id));
  // A table of a parent is stored below the parent's root.
  const tables = objects.map((o) => o.path).filter((p) => named.some((n) => p === n || p.endsWith(`/${n}`)));
  const log = objects.map((o) => o.path).filter((p) => (parseWalPath(p) ?? 0) > manifest.replayAfterWalId);
  return new Set([path, IDENTITY_PATH, ...tables, ...log]);
}

/**
 * Whether the newest manifest is left and of the log nothing from its replay point on, where collectors keep at least one object. What
 * that object and later ones held is beyond proof, but not that something is gone, unless the database was closed.
 */
export function isLogGone({ objects, isClosed }: Reference, { paths, objects: left }: Damage): boolean {
  const newest = Math.max(...objects.map((o) => parseManifestPath(o.path) ?? 0));
  const path = manifestPath(newest);
  if (isClosed || paths.includes(path)) return false;
  const { replayAfterWalId } = loadManifest(newest, objects.find((o) => o.path === path)!.bytes).manifest;
  return !left.some((o) => (parseWalPath(o.path) ?? -1) >= replayAfterWalId);
}

/**
 * Damage that the store alone cannot show, so that nothing can be held against us: the end of the log is lost, or the last
 * manifest, and nothing newer speaks of it. What is left is the database as it was a moment before.
 */
export function isBeyondProof({ objects, isClosed, isSealed }: Reference, { kind, paths }: Damage): boolean {
  const newest = (parse: (path: string) => number | undefined) => Math.max(...objects.map((o) => parse(o.path) ?? 0));
  // With the newest manifest goes what it said, and with the newest objects of the log what they held, unless the database was closed.
  if (isWholeLoss(kind))
    return paths.some(
      (p) =>
        parseManifestPath(p) === newest(parseManifestPath) || (!isClosed && parseWalPath(p) === newest(parseWalPath)),
    );
  // The manifest of a clean close is the last thing that is written.
  if (isClosed) return kind === 'delete' && parseManifestPath(paths[0]) === newest(parseManifestPath);
  if (kind !== 'delete' && (kind !== 'swap' || isSealed)) return false;
  return paths.some((path) => parseWalPath(path) === newest(parseWalPath));
}
