/** Manifests and compactions files: a FlatBuffer after a header, perhaps with a seal that covers it. */
import { concatBytes } from '../../src/common/bytes.ts';
import { decodeCompactions, encodeCompactions, isCanonicalCompactions } from '../../src/format/compactions-codec.ts';
import { decodeManifest, encodeManifest, isCanonicalManifest } from '../../src/format/manifest-codec.ts';
import { decodeManifestSeal, findManifestSeal } from '../../src/format/seal.ts';
import { decodeTracker } from '../../src/format/sequence-tracker.ts';
import { loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { mutateFlat, oneIn } from './mutate.ts';
import { pickSeed, type SeedObjects } from './seeds.ts';
import { mutateSeal, resealed } from './table-parts.ts';
import { expectSame, inTurn, type Target } from './target.ts';

export function manifestTargets(seeds: SeedObjects): Target[] {
  const ofVersion = (all: readonly Uint8Array[], version: number) => all.filter((bytes) => bytes[1] === version);
  const manifest = (version: 1 | 2): Target => ({
    name: `manifest-v${version}`,
    make: versionedBodies(ofVersion(seeds.manifests, version)),
    decode: (bytes) =>
      inTurn(
        () => useManifest(bytes),
        () => loadManifest(sealedId(bytes), bytes),
      ),
  });
  const compactions = (version: 1 | 2): Target => ({
    name: `compactions-v${version}`,
    make: versionedBodies(ofVersion(seeds.compactions, version)),
    decode: useCompactions,
  });
  return [manifest(1), manifest(2), compactions(1), compactions(2)];
}

const HEADER_BYTES = 2;

/** Header, FlatBuffer and perhaps a seal: either is damaged, and the seal is mostly made to fit the damage. */
function versionedBodies(all: readonly Uint8Array[]): Target['make'] {
  const bodies = all.map((bytes) => {
    const seal = findManifestSeal(bytes);
    return { body: bytes.subarray(0, seal?.start ?? bytes.length), seal: bytes.subarray(seal?.start ?? bytes.length) };
  });
  const donors = bodies.map(({ body }) => body);
  return (random) => {
    const { body, seal } = pickSeed(random, bodies, (b) => b.body.length);
    if (seal.length > 0 && oneIn(random, 4)) return concatBytes(body, mutateSeal(seal, random, body));
    const damaged = mutateFlat(body, random, HEADER_BYTES, donors);
    if (seal.length === 0 || oneIn(random, 3)) return damaged;
    return concatBytes(damaged, oneIn(random, 8) ? seal : resealed(seal, damaged));
  };
}

/** The id under which a manifest must be stored by its own seal. */
function sealedId(bytes: Uint8Array): number {
  const range = findManifestSeal(bytes);
  const idAt = (range?.start ?? 0) + 6 + 16 + 12;
  return range === undefined || idAt + 4 > bytes.length
    ? 1
    : new DataView(bytes.buffer, bytes.byteOffset + idAt, 4).getUint32(0);
}

function useManifest(bytes: Uint8Array): void {
  const { manifest, bodyBytes } = decodeManifest(bytes);
  decodeManifestSeal(bytes, bodyBytes, 'manifest');
  isCanonicalManifest(bytes);
  const again = encodeManifest(manifest);
  expectSame(encodeManifest(decodeManifest(again).manifest), again);
  if (manifest.sequenceTracker !== undefined) decodeTracker(manifest.sequenceTracker);
}

function useCompactions(bytes: Uint8Array): void {
  const { compactions, bodyBytes } = decodeCompactions(bytes);
  decodeManifestSeal(bytes, bodyBytes, 'compactions');
  isCanonicalCompactions(bytes);
  const again = encodeCompactions(compactions);
  expectSame(encodeCompactions(decodeCompactions(again).compactions), again);
}
