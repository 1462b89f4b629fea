/**
 * The one bit by which a damaged manifest of SlateDB fits again. Such a manifest has no checksum, so what speaks for a change is
 * everything else: it decodes to its canonical form, breaks no rule, continues the manifest before it, and the tables it names
 * exist and record the same about themselves as it does. Only if exactly one bit gives all that, it is accepted.
 */
import { present } from '../common/assert.ts';
import { runSliced } from '../common/async.ts';
import { equalBytes } from '../common/bytes.ts';
import { IncompatibleError, isCorruption } from '../common/errors.ts';
import { encodeManifest } from '../format/manifest-codec.ts';
import { findManifestSeal } from '../format/seal.ts';
import { ownTables } from '../lsm/manifest/live-set.ts';
import { type LoadedManifest, loadManifest } from '../lsm/manifest/manifest-store.ts';
import { contradictions, doubts, newerTracker } from '../recovery/manifest-cross-check.ts';
import { readTableTail } from '../recovery/stored-tables.ts';
import { type ManifestSurvey, saysTheSame, type UnusableManifest } from './manifest-survey.ts';
import { stillOpen } from './roll-forward.ts';
import type { ToolTarget } from './target.ts';

/** Larger ones are not tried: each of their bits is one decoding. */
const MAX_FLIP_BYTES = 8192;
/** With more survivors nothing singles one out, and their tables are not read. */
const MAX_SURVIVORS = 20;

/** The newest manifest with one bit changed, if it was one bit that made it damaged; undefined where that is not certain. */
export async function flipThatFits(target: ToolTarget, survey: ManifestSurvey): Promise<LoadedManifest | undefined> {
  const newest = survey.bad[0];
  const previous = survey.base;
  if (newest?.bytes === undefined || newest.id !== survey.highestId || previous?.id !== newest.id - 1) return undefined;
  if (newest.bytes.length > MAX_FLIP_BYTES || findManifestSeal(newest.bytes) !== undefined) return undefined;
  const survivors = await survivorsOf(target, newest, previous, survey);
  if (survivors.length > MAX_SURVIVORS) return undefined;
  const proven: LoadedManifest[] = [];
  for (const survivor of survivors) if (await tablesAgree(target, survey, survivor)) proven.push(survivor);
  return proven.length === 1 ? proven[0] : undefined;
}

async function survivorsOf(
  target: ToolTarget,
  { id, bytes }: UnusableManifest,
  previous: LoadedManifest,
  survey: ManifestSurvey,
): Promise<LoadedManifest[]> {
  const work = new Uint8Array(present(bytes, 'a manifest with a flipped bit is there'));
  const survivors: LoadedManifest[] = [];
  let bit = 0;
  await runSliced(target.clock, () => {
    if (bit === 8 * work.length || survivors.length > MAX_SURVIVORS) return true;
    const mask = 1 << (bit & 7);
    work[bit >>> 3] ^= mask;
    const loaded = fitting(id, work, previous, survey);
    if (loaded !== undefined) survivors.push(loaded);
    work[bit >>> 3] ^= mask;
    bit++;
    return false;
  });
  return survivors;
}

/** What can be checked without asking the store. */
function fitting(
  id: number,
  bytes: Uint8Array,
  previous: LoadedManifest,
  survey: ManifestSurvey,
): LoadedManifest | undefined {
  const loaded = tryLoad(id, bytes);
  if (loaded === undefined || loaded.seal !== undefined) return undefined;
  const { manifest } = loaded;
  if (!equalBytes(encodeManifest(manifest), bytes)) return undefined;
  if (contradictions(id, manifest, { previous: previous.manifest, replayed: undefined }).length > 0) return undefined;
  if (doubts(loaded, previous).length > 0 || newerTracker(loaded.manifest) !== undefined) return undefined;
  const known = new Set(previous.manifest.checkpoints.map((c) => c.id));
  if (manifest.checkpoints.some((c) => !known.has(c.id) && c.manifestId !== id)) return undefined;
  return stillOpen(survey, manifest, []).length === 0 ? loaded : undefined;
}

function tryLoad(id: number, bytes: Uint8Array): LoadedManifest | undefined {
  try {
    return loadManifest(id, bytes);
  } catch (error) {
    if (isCorruption(error) || error instanceof IncompatibleError) return undefined;
    throw error;
  }
}

/** Whether every table records about itself what the manifest records about it. */
async function tablesAgree(
  target: ToolTarget,
  { tables }: ManifestSurvey,
  { manifest }: LoadedManifest,
): Promise<boolean> {
  for (const ref of ownTables(manifest)) {
    const stored = tables.get(ref.id);
    const tail = stored && (await readTableTail(target.stores.main, stored));
    if (tail === undefined || !saysTheSame(tail.ref, ref)) return false;
  }
  return true;
}
