/**
 * Damage at rest: what happens to stored objects without anybody's request. Drawn from a seed, applied to the bytes of a
 * simulated store, and described so that a judge knows which objects may be called damaged.
 */
import type { Draw } from './script.ts';
import type { SimObject, SimStore } from './sim-store.ts';

export const DAMAGE_KINDS = ['flip', 'bytes', 'burst', 'cut', 'empty', 'delete', 'exchange'] as const;
type DamageKind = (typeof DAMAGE_KINDS)[number];

/** Where damage is drawn: a prefix and how often. */
const PLACES = ['compacted/', 'compacted/', 'compacted/', 'wal/', 'wal/', 'wal/', 'manifest/', 'shale/'] as const;

/** Manifests before the newest so many serve nobody any more. */
const NEWEST_MANIFESTS = 3;

export interface Damage {
  kind: DamageKind;
  path: string;
  /** Whose bytes are there now, for an exchange. */
  other?: string;
  /** First byte, or the length that is left. */
  at?: number;
  length?: number;
}

/** One damage that changes something; undefined if there is nothing to damage at the place drawn. */
export function drawDamage(draw: Draw, store: SimStore, isNeeded: (path: string) => boolean): Damage | undefined {
  const place = draw.of(PLACES);
  const all = store.paths(place).filter(isNeeded);
  const paths = place === 'manifest/' ? all.slice(-NEWEST_MANIFESTS) : all;
  if (paths.length === 0) return undefined;
  const path = draw.of(paths);
  const { length } = (store.objects.get(path) as SimObject).bytes;
  const kind = draw.of(DAMAGE_KINDS);
  switch (kind) {
    case 'flip':
      return length === 0 ? undefined : { kind, path, at: draw.int(length * 8) };
    case 'bytes':
    case 'burst': {
      if (length === 0) return undefined;
      const size = Math.min(length, kind === 'bytes' ? 1 + draw.int(4) : 5 + draw.int(200));
      return { kind, path, at: draw.int(length - size + 1), length: size };
    }
    case 'cut':
      return length < 2 ? undefined : { kind, path, at: 1 + draw.int(length - 1) };
    case 'empty':
      return length === 0 ? undefined : { kind, path };
    case 'delete':
      return { kind, path };
    case 'exchange': {
      const other = draw.of(paths);
      return other === path ? undefined : { kind, path, other };
    }
  }
}

/** Paths that this damage touches. */
export function touched({ path, other }: Damage): string[] {
  return other === undefined ? [path] : [path, other];
}

/** Does it to the store; the same damage always does the same. */
export function inflict(store: SimStore, damage: Damage, draw: Draw): void {
  const { kind, path, at = 0, length = 0, other } = damage;
  const { bytes } = store.objects.get(path) as SimObject;
  const changed = bytes.slice();
  if (kind === 'flip') changed[at >> 3] ^= 1 << (at & 7);
  for (let i = at; (kind === 'bytes' || kind === 'burst') && i < at + length; i++) changed[i] ^= 1 + draw.int(255);
  if (kind === 'exchange') {
    store.damage(path, (store.objects.get(other as string) as SimObject).bytes);
    store.damage(other as string, bytes);
  } else if (kind === 'delete') store.damage(path, undefined);
  else store.damage(path, kind === 'cut' ? bytes.slice(0, at) : kind === 'empty' ? new Uint8Array(0) : changed);
}
