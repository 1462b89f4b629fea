/**
 * One manifest in detail: what it says, how far that is proven, how it continues the one before it.
 */
import { equalBytes } from '../common/bytes.ts';
import { damage, locateFindings, unknownFinding } from '../common/damage.ts';
import { type CorruptionError, IncompatibleError, InvalidArgumentError, isCorruption } from '../common/errors.ts';
import { type Finding, type FindingInput, makeFinding, WHOLE_OBJECT } from '../common/finding.ts';
import { checkedOptions } from '../common/option-checks.ts';
import { decodeManifest, encodeManifest } from '../format/manifest-codec.ts';
import type { Manifest } from '../format/manifest-types.ts';
import { manifestPath } from '../format/object-names.ts';
import { decodeManifestSeal, findManifestSeal, objectDigest, type Seal } from '../format/seal.ts';
import { EpochGuard } from '../lsm/manifest/epoch-guard.ts';
import {
  type LoadedManifest,
  listManifestIds,
  loadManifest,
  manifestFindingObject,
  repairManifestBytes,
} from '../lsm/manifest/manifest-store.ts';
import { ambiguousViewFindings } from '../lsm/manifest/view-ids.ts';
import { newerTrackerFindings } from '../recovery/manifest-cross-check.ts';
import { crossCheckManifest } from '../recovery/manifest-evidence.ts';
import { findNewestId, type Surroundings } from '../recovery/place.ts';
import { noManifestLeft } from '../recovery/remains.ts';
import { belowBoundaryFindings, logOutOfReach, lookAroundTarget, manifestHint } from './database-state.ts';
import { changeText, manifestChanges } from './manifest-changes.ts';
import { manifestIdOf } from './manifest-list.ts';
import type { ManifestReport, SealReport } from './reports.ts';
import { type Target, TOOL_CHECKS, type ToolOptions, type ToolTarget, withTarget } from './target.ts';
import { missingManifestFindings } from './wal-survey.ts';

const NOT_CHECKED = [
  'manifests but for this one and the one before it',
  'what is in the tables and in the log that it names',
];

/**
 * Inspects manifest `id`, or the newest. Resolves whatever is wrong with it; a missing one has no size and a finding.
 * Six to sixteen requests, no mutating one. Rejects with `InvalidArgumentError` where no database is and for an id above the newest,
 * `UnavailableError`.
 */
export async function manifestInspect(
  target: Target,
  id?: bigint | number,
  options: ToolOptions = {},
): Promise<ManifestReport> {
  const checked = checkedOptions('manifestInspect', options, TOOL_CHECKS);
  if (id !== undefined) manifestIdOf('manifestInspect', id);
  return withTarget(target, checked, async (opened) => {
    const guard = new EpochGuard(opened.clock, opened.stores.latestStoreTimesMs);
    const around = await lookAroundTarget(opened, guard);
    const isNoneLeft = around.manifestIds.length === 0;
    const chosen = id === undefined ? (around.manifestIds.at(-1) ?? around.boundary.value + 1) : Number(id);
    const newestId = around.manifestIds.at(-1) ?? 0;
    if (id !== undefined && !isNoneLeft && chosen > Math.max(newestId, around.boundary.value)) {
      await assertOnceThere(opened, chosen);
    }
    const report = await new Inspection(opened, chosen, around.boundary, chosen === newestId).run();
    // Asked for the newest one, there is more to say than that a certain one is missing.
    if (id !== undefined || !isNoneLeft || report.size > 0) return report;
    return { ...report, findings: [...noManifestLeft(opened.where, 'check').findings] };
  });
}

/** A manifest above the newest was never written, unless it is there nevertheless: lists may lag. */
async function assertOnceThere({ stores, where }: ToolTarget, id: number): Promise<void> {
  if ((await stores.main.head(manifestPath(id))) !== undefined) return;
  const newestId = (await findNewestId(stores.main)) ?? 0;
  if (id <= newestId) return;
  throw new InvalidArgumentError(
    'BAD_ARGUMENT',
    `${where}: there is no manifest ${id}; the newest one is ${newestId}. Without an id the newest is shown.`,
  );
}

class Inspection {
  readonly #target: ToolTarget;
  readonly #id: number;
  readonly #boundary: Surroundings['boundary'];
  readonly #isNewest: boolean;
  readonly #findings: Finding[] = [];

  constructor(target: ToolTarget, id: number, boundary: Surroundings['boundary'], isNewest: boolean) {
    this.#target = target;
    this.#id = id;
    this.#boundary = boundary;
    this.#isNewest = isNewest;
  }

  async run(): Promise<ManifestReport> {
    const id = this.#id;
    const base = { schemaVersion: 1 as const, id: BigInt(id), path: manifestPath(id) };
    const got = await this.#target.stores.main.get(manifestPath(id));
    if (got === undefined) {
      this.#add({ code: 'MISSING_OBJECT', at: WHOLE_OBJECT }, 0, false);
      const unknown = { chain: 'unknown' as const, canonical: false, changes: [] };
      return { ...base, size: 0, sealed: false, ...unknown, findings: this.#findings, notChecked: NOT_CHECKED };
    }
    const { bytes } = got;
    const { manifest, bodyBytes } = this.#decode(bytes);
    const seal = sealReport(bytes, bodyBytes);
    const loaded = this.#load(bytes);
    if (loaded !== undefined) this.#findings.push(...newerTrackerFindings(loaded, 'check'));
    if (loaded !== undefined && this.#isNewest) {
      this.#findings.push(...ambiguousViewFindings(loaded, 'check'));
      this.#findings.push(...(await belowBoundaryFindings(this.#target, this.#id, this.#boundary)));
      // A log in another store is left to the checks of the log.
      if ((await logOutOfReach(this.#target, loaded)) === undefined)
        this.#findings.push(...(await missingManifestFindings(this.#target, loaded, this.#id)));
    }
    const previous = await this.#previous(seal.seal);
    const chain = loaded === undefined ? 'unknown' : await this.#chain(loaded, previous);
    return {
      ...base,
      notChecked: NOT_CHECKED,
      size: bytes.length,
      sealed: seal.state !== 'none',
      ...(manifest !== undefined && { manifest }),
      seal,
      chain,
      canonical: manifest !== undefined && equalBytes(encodeManifest(manifest), bytes.subarray(0, bodyBytes)),
      changes:
        manifest === undefined || previous === undefined
          ? []
          : manifestChanges(previous.manifest, manifest).map(changeText),
      findings: this.#findings,
    };
  }

  /** What can be decoded, also of a damaged one. */
  #decode(bytes: Uint8Array): { manifest: Manifest | undefined; bodyBytes: number } {
    try {
      return decodeManifest(bytes);
    } catch (error) {
      if (!isCorruption(error) && !(error instanceof IncompatibleError)) throw error;
      return { manifest: undefined, bodyBytes: findManifestSeal(bytes)?.start ?? bytes.length };
    }
  }

  #load(bytes: Uint8Array): LoadedManifest | undefined {
    try {
      return loadManifest(this.#id, bytes);
    } catch (error) {
      if (isCorruption(error)) this.#addDamage(error, bytes);
      else if (error instanceof IncompatibleError) {
        const object = manifestFindingObject(this.#id, { size: bytes.length });
        this.#findings.push(unknownFinding(error, { object, during: 'check' }));
      } else throw error;
      return undefined;
    }
  }

  #addDamage(error: CorruptionError, bytes: Uint8Array): void {
    const repaired = repairManifestBytes(this.#id, bytes);
    const remedy = repaired === undefined ? 'none' : repaired.trust === 'probable' ? 'heals-probably' : 'heals';
    const object = { ...error.findings[0].object, size: bytes.length };
    for (const f of locateFindings(error, { object, during: 'check' })) {
      this.#findings.push({ ...f, remedy, hint: manifestHint(this.#target) });
    }
  }

  #add(input: Omit<FindingInput, 'object' | 'during' | 'hint'>, size: number, sealed: boolean): void {
    const object = manifestFindingObject(this.#id, { size, sealed });
    this.#findings.push(makeFinding({ ...input, object, during: 'check', hint: manifestHint(this.#target) }));
  }

  /** The one that the seal names, else the one with the next lower id. */
  async #previous(seal: Seal | undefined): Promise<(LoadedManifest & { bytes: Uint8Array }) | undefined> {
    const { main } = this.#target.stores;
    const named = seal?.manifest?.previousManifestId;
    const id = named ?? (await listManifestIds(main)).filter((x) => x < this.#id).at(-1) ?? 0;
    const got = id === 0 ? undefined : await main.get(manifestPath(id));
    if (got === undefined) return undefined;
    try {
      return { ...loadManifest(id, got.bytes), bytes: got.bytes };
    } catch (error) {
      if (!isCorruption(error) && !(error instanceof IncompatibleError)) throw error;
      return undefined;
    }
  }

  /** Unknown where the one before was collected or is damaged itself, and where there is no seal. */
  async #chain(
    loaded: LoadedManifest,
    previous: { id: number; bytes: Uint8Array } | undefined,
  ): Promise<ManifestReport['chain']> {
    const record = loaded.seal?.manifest;
    if (record === undefined) {
      await this.#crossCheck(loaded);
      return 'unknown';
    }
    if (record.previousManifestId === 0) return 'ok';
    if (previous === undefined) return 'unknown';
    if (equalBytes(objectDigest(previous.bytes), record.previousDigest)) return 'ok';
    const at = { unit: 'seal' as const, offset: 0, length: loaded.sizeBytes };
    const expected = `the manifest ${previous.id} that its author saw`;
    this.#add({ code: 'CHAIN_BREAK', at, expected, found: 'another one', origin: 'replaced' }, loaded.sizeBytes, true);
    return 'broken';
  }

  /** A manifest of SlateDB has no checksum: what it continues speaks for it. */
  async #crossCheck(loaded: LoadedManifest): Promise<void> {
    const { broken, doubts, oddities, isDoubtNew } = await crossCheckManifest(
      this.#target.stores,
      loaded,
      this.#boundary.value,
    );
    const at = { unit: 'object' as const, offset: 0, length: loaded.sizeBytes };
    if (broken.length > 0) {
      const error = damage('MANIFEST_INCONSISTENT', at, broken.join('; '));
      this.#findings.push({
        ...locateFindings(error, {
          object: manifestFindingObject(loaded.id, { size: loaded.sizeBytes }),
          during: 'check',
        })[0],
        found: broken.join('; '),
        hint: manifestHint(this.#target),
      });
    }
    const odd = [...doubts, ...oddities];
    if (odd.length === 0) return;
    const severity = isDoubtNew && doubts.length > 0 ? 'warning' : 'note';
    this.#add({ code: 'MANIFEST_INCONSISTENT', at, severity, found: odd.join('; ') }, loaded.sizeBytes, false);
  }
}

function sealReport(bytes: Uint8Array, bodyBytes: number): SealReport {
  const offset = bodyBytes;
  const length = bytes.length - bodyBytes;
  try {
    const seal = decodeManifestSeal(bytes, bodyBytes, 'manifest');
    return seal === undefined ? { offset, length: 0, state: 'none' } : { offset, length, state: 'ok', seal };
  } catch (error) {
    if (!isCorruption(error)) throw error;
    return { offset, length, state: 'bad' };
  }
}
