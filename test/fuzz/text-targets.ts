/** Small objects, names and locations: what is text, or nearly so. */
import { concatBytes } from '../../src/common/bytes.ts';
import { decodeBoundary, encodeBoundary } from '../../src/format/boundary.ts';
import { crc32 } from '../../src/format/checksum.ts';
import { decodeManifest } from '../../src/format/manifest-codec.ts';
import {
  parseCompactionsPath,
  parseManifestPath,
  parseTablePath,
  parseWalPath,
  roleOfPath,
} from '../../src/format/object-names.ts';
import { decodeTracker, encodeTracker } from '../../src/format/sequence-tracker.ts';
import { decodeIdentity, encodeIdentity, encodeSidecar } from '../../src/format/sidecar.ts';
import { resolveLocation } from '../../src/store/location.ts';
import { mutateBytes, mutateText, oneIn, pick } from './mutate.ts';
import { pickSeed, type SeedObjects } from './seeds.ts';
import { expectSame, inTurn, length, type Target, text } from './target.ts';

export function smallTargets(seeds: SeedObjects): Target[] {
  const trackers = seeds.manifests
    .map((bytes) => decodeManifest(bytes).manifest.sequenceTracker)
    .filter((tracker) => tracker !== undefined);
  trackers.push(
    encodeTracker({
      seqs: [1, 5, 2000, 2 ** 30],
      timesS: [1_700_000_000, 1_700_000_060, 1_700_003_600, 1_800_000_000],
    }),
  );
  const boundaries = [...seeds.boundaries, encodeBoundary(12), encodeBoundary(Number.MAX_SAFE_INTEGER)];
  return [
    {
      name: 'sequence-tracker',
      make: (random) => mutateBytes(pickSeed(random, trackers, length), random, trackers),
      decode: (bytes) => {
        const tracker = decodeTracker(bytes);
        const again = encodeTracker(tracker);
        expectSame(encodeTracker(decodeTracker(again)), again);
      },
    },
    {
      name: 'boundary',
      make: (random) =>
        oneIn(random, 2)
          ? mutateBytes(pick(random, boundaries), random)
          : mutateText(text(pick(random, boundaries)), random, [' ', '\n', '\t', '+', '-', '.', 'e9', '0x1']),
      decode: (bytes) => void decodeBoundary(encodeBoundary(decodeBoundary(bytes))),
    },
    identityTarget(seeds),
  ];
}

const JSON_WORDS = [
  'databaseId',
  'createdAtMs',
  'creator',
  'separateWalStore',
  'null',
  'true',
  '[]',
  '{}',
  '"x"',
  '1e400',
];

/** `shale/identity` and with it the frame of every sidecar. */
function identityTarget(seeds: SeedObjects): Target {
  return {
    name: 'identity',
    make: (random) => {
      const seed = pick(random, seeds.identities);
      if (oneIn(random, 5)) return mutateText(text(seed), random, ['shaledb/identity', ' ', '\n', '1', '2']);
      if (oneIn(random, 200)) return encodeSidecar('identity', 1, JSON.parse(`${'['.repeat(3000)}${']'.repeat(3000)}`));
      const json = mutateText(text(seed.subarray(seed.indexOf(0x0a) + 1)), random, JSON_WORDS);
      const crc = crc32(json).toString(16).padStart(8, '0');
      return concatBytes(new TextEncoder().encode(`shaledb/identity 1 ${crc} ${json.length}\n`), json);
    },
    decode: (bytes) => {
      const identity = decodeIdentity(bytes);
      decodeIdentity(encodeIdentity(identity));
    },
  };
}

// ---- names and locations

export function textTargets(seeds: SeedObjects): Target[] {
  const paths = seeds.paths.filter((path) => path.length < 100);
  const words = [
    'manifest/',
    'wal/',
    'compacted/',
    '.sst',
    '.manifest',
    '18446744073709551615',
    '9007199254740992',
    'ILOU',
  ];
  return [
    {
      name: 'object-names',
      make: (random) => mutateText(pick(random, paths), random, words),
      decode: (bytes) => {
        const path = text(bytes);
        roleOfPath(path);
        inTurn(
          () => parseManifestPath(path),
          () => parseWalPath(path),
          () => parseTablePath(path),
          () => parseCompactionsPath(path),
        );
      },
    },
    {
      name: 'location',
      make: (random) => mutateText(pick(random, LOCATIONS), random, LOCATION_WORDS),
      allowed: ['invalid'],
      decode: async (bytes) => {
        const { location, dispose } = await resolveLocation(text(bytes));
        dispose();
        if (location.path.split('/').includes('..')) throw new Error(`the path ${location.path} leads upwards`);
      },
    },
  ];
}

const LOCATIONS = [
  'file:///var/lib/data/db',
  's3://bucket/some/path?endpoint=http://127.0.0.1:9000&forcePathStyle=true&region=eu-central-1',
  's3://bucket',
  'memory:',
];
const LOCATION_WORDS = [
  'file:',
  's3:',
  'memory:',
  '//',
  '%2F',
  '%2e%2e',
  '%',
  '%ff',
  '?',
  '&',
  '#',
  '=',
  '@',
  ':',
  'endpoint',
  'region',
  'forcePathStyle',
  'true',
  'http://',
  '[::1]',
  'xn--',
  'user:password@',
];
