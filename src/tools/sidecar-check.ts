/**
 * The check of everything that is neither manifest, table nor log: identity, ledger, what repairs wrote down, copies in
 * quarantine, compactions files, boundary files. Only names of the format are read: what other programs put beside them is theirs.
 * No row depends on them, so their damage is a warning; what is missing is one where something else says that it should be there.
 * How bad damage to a version of the ledger is depends on the others: see `readLedger`.
 */
import { stopIfAborted } from '../common/abort.ts';
import { DOCTOR, type Hint, hintAt, makeHint } from '../common/advice.ts';
import { equalBytes } from '../common/bytes.ts';
import { damage, isCannotTell, locateFindings, unknownFinding } from '../common/damage.ts';
import { IncompatibleError, isCorruption } from '../common/errors.ts';
import { type Finding, type FindingObject, makeFinding, type ObjectRole, WHOLE_OBJECT } from '../common/finding.ts';
import { decodeBoundary } from '../format/boundary.ts';
import { decodeCompactions, isCanonicalCompactions } from '../format/compactions-codec.ts';
import {
  BOUNDARY_PREFIX,
  COMPACTIONS_BOUNDARY_PATH,
  COMPACTIONS_PREFIX,
  IDENTITY_PATH,
  isDatabasePath,
  LEDGER_PREFIX,
  parseCompactionsPath,
  parseRepairFilePath,
  QUARANTINE_PREFIX,
  SIDECAR_PREFIX,
  STORE_PROFILE_PATH,
} from '../format/object-names.ts';
import { decodeManifestSeal } from '../format/seal.ts';
import { decodeIdentity, decodeSidecar } from '../format/sidecar.ts';
import { boundaryHint, boundarySeverity } from '../lsm/manifest/boundary-file.ts';
import { compactionsHint } from '../lsm/manifest/compactions-store.ts';
import type { LoadedManifest } from '../lsm/manifest/manifest-store.ts';
import { decodeLedger, readLedger } from '../lsm/tree/damage-ledger.ts';
import type { GetResult } from '../store/object-store.ts';
import { compactionsBoundaryFindings } from './database-state.ts';
import { sha256Hex } from './repair-plan.ts';
import type { ToolTarget } from './target.ts';

const IDENTITY_RETURNS =
  'No row depends on it, and nothing is to be done: the next opening for writing writes it again, as the newest manifest has it.';
const OVERTAKEN = 'A newer version of the ledger holds all that this one held, and nothing depends on it any more.';

/** Findings about all such objects. One LIST of each of three prefixes, and a GET of each object. */
export async function checkSidecars(target: ToolTarget, newest: LoadedManifest | undefined): Promise<Finding[]> {
  const check = new SidecarCheck(target, newest);
  const { main } = target.stores;
  for (const prefix of [SIDECAR_PREFIX, COMPACTIONS_PREFIX, BOUNDARY_PREFIX]) {
    for await (const { path } of main.list(prefix))
      if (isDatabasePath(path) || path === STORE_PROFILE_PATH) await check.look(path);
  }
  check.compare();
  await check.checkBoundary();
  await check.rateLedger();
  return check.findings;
}

class SidecarCheck {
  readonly findings: Finding[] = [];
  readonly #target: ToolTarget;
  readonly #newest: LoadedManifest | undefined;
  readonly #seen = new Set<string>();
  /** SHA-256 of copies, by path. */
  readonly #copies = new Map<string, string>();
  /** What reports of repairs say about them. */
  readonly #evidence = new Map<string, string>();
  #databaseId: Uint8Array | undefined;
  /** Undefined: there is none, or none that can be read, which is reported. */
  #compactionsBoundary: number | undefined;

  constructor(target: ToolTarget, newest: LoadedManifest | undefined) {
    this.#target = target;
    this.#newest = newest;
  }

  async look(path: string): Promise<void> {
    stopIfAborted(this.#target.signal);
    this.#seen.add(path);
    for (let isLast = false; ; isLast = true) {
      const got = await this.#read(path);
      if (got === undefined) return;
      try {
        this.#decode(path, got.bytes);
        return;
      } catch (error) {
        if (!isCorruption(error) && !(error instanceof IncompatibleError)) throw error;
        if (!isLast) continue;
        const object = { ...objectOf(path), size: got.size };
        if (!isCorruption(error)) {
          this.findings.push(unknownFinding(error, { object, during: 'check' }));
          return;
        }
        const reads = { attempts: 2, identical: true, pastCaches: true };
        for (const f of locateFindings(error, { object, during: 'check', reads })) {
          if (path.startsWith(BOUNDARY_PREFIX)) this.#addBoundary(f);
          else if (path.startsWith(COMPACTIONS_PREFIX)) this.#addJobs(f);
          else this.#add(f, path === IDENTITY_PATH ? this.#identityText(error.message) : error.message);
        }
        return;
      }
    }
  }

  /** Undefined: it is gone, or may not be read, which is a finding. */
  async #read(path: string): Promise<GetResult | undefined> {
    try {
      return await this.#target.stores.main.get(path);
    } catch (error) {
      if (!isCannotTell(error) || error.retryable) throw error;
      this.findings.push(unknownFinding(error, { object: objectOf(path), during: 'check' }));
      return undefined;
    }
  }

  #decode(path: string, bytes: Uint8Array): void {
    if (path === COMPACTIONS_BOUNDARY_PATH) this.#compactionsBoundary = decodeBoundary(bytes);
    else if (path.startsWith(BOUNDARY_PREFIX)) decodeBoundary(bytes);
    else if (path.startsWith(COMPACTIONS_PREFIX)) decodeJobs(bytes);
    else if (path === IDENTITY_PATH) this.#databaseId = decodeIdentity(bytes).databaseId;
    else if (path.startsWith(LEDGER_PREFIX)) decodeLedger(bytes);
    else if (path.startsWith(QUARANTINE_PREFIX)) this.#copies.set(path, sha256Hex(bytes));
    else if (path === STORE_PROFILE_PATH) parseProfile(bytes);
    else this.#decodeRepairFile(path, bytes);
  }

  #decodeRepairFile(path: string, bytes: Uint8Array): void {
    const kind = parseRepairFilePath(path)?.kind;
    if (kind === undefined) return;
    const { value } = decodeSidecar(bytes, `repair-${kind}`);
    const { evidence, report } = (value ?? {}) as { evidence?: unknown; report?: { evidence?: unknown } };
    const list = evidence ?? report?.evidence;
    if (!Array.isArray(list)) return;
    for (const { to, sha256 } of list as { to?: unknown; sha256?: unknown }[]) {
      if (typeof to === 'string' && typeof sha256 === 'string') this.#evidence.set(to, sha256);
    }
  }

  /** What is missing, and what does not fit together. */
  compare(): void {
    const record = this.#newest?.seal?.identity;
    const isKnown = this.#databaseId !== undefined || this.#seen.has(IDENTITY_PATH);
    if (record !== undefined && !isKnown) this.#addMissingIdentity();
    if (record !== undefined && this.#databaseId !== undefined && !equalBytes(record.databaseId, this.#databaseId)) {
      const f = makeFinding({
        code: 'IDENTITY_MISMATCH',
        object: objectOf(IDENTITY_PATH),
        at: WHOLE_OBJECT,
        during: 'check',
      });
      this.#add(f, 'The identity is not that of the newest manifest.');
    }
    for (const [path, expected] of this.#evidence) {
      const found = this.#copies.get(path);
      if (found === undefined || found === expected) continue;
      const more = { expected: `sha256:${expected}`, found: `sha256:${found}` };
      const f = makeFinding({
        code: 'BAD_CHECKSUM',
        object: objectOf(path),
        at: WHOLE_OBJECT,
        during: 'check',
        ...more,
      });
      this.#add(f, 'A copy in quarantine is no longer what was copied.');
    }
  }

  /** Damage to a version of the ledger as `readLedger` rates it; a version that newer ones have replaced is no longer needed. */
  async rateLedger(): Promise<void> {
    let counting: Finding[];
    try {
      counting = (await readLedger(this.#target.stores.main, this.#newest)).damage.flatMap((error) => error.findings);
    } catch (error) {
      // Of a newer form, or not to be read: reported above, and nothing else is known of the ledger.
      if (!isCannotTell(error) || error.retryable) throw error;
      return;
    }
    const paths = new Set(counting.map((f) => f.object.path));
    for (const [i, finding] of this.findings.entries()) {
      const { object, severity } = finding;
      if (severity === 'unknown' || !object.path.startsWith(LEDGER_PREFIX) || paths.has(object.path)) continue;
      this.findings[i] = { ...finding, severity: 'note', hint: { ...finding.hint, summary: OVERTAKEN, commands: [] } };
    }
    const others = this.findings.filter((f) => !paths.has(f.object.path));
    this.findings.splice(0, this.findings.length, ...others, ...counting);
  }

  #addMissingIdentity(): void {
    const f = makeFinding({
      code: 'MISSING_OBJECT',
      object: objectOf(IDENTITY_PATH),
      at: WHOLE_OBJECT,
      expected: 'the identity of the database',
      during: 'check',
    });
    this.#add(f, this.#identityText(`${IDENTITY_PATH} is gone: the identity of the database`));
  }

  /** Opening takes the identity from the seal of the newest manifest; where that has none, it refuses. */
  #identityText(what: string): string {
    if (this.#newest?.seal === undefined) return what;
    return `${what.replace(/\.$/, '')}. ${IDENTITY_RETURNS}`;
  }

  #addBoundary(finding: Finding): void {
    const { path } = finding.object;
    this.findings.push({ ...finding, severity: boundarySeverity(path), hint: this.#hintAt(boundaryHint(path)) });
  }

  #addJobs(finding: Finding): void {
    this.findings.push({ ...finding, severity: 'warning', hint: this.#hintAt(compactionsHint(finding.object.path)) });
  }

  #hintAt(hint: Hint): Hint {
    return hintAt(hint, this.#target.label);
  }

  /** The boundary of the compactions files; that of the manifests is checked with the newest manifest. */
  async checkBoundary(): Promise<void> {
    const ids = [...this.#seen].flatMap((path) => parseCompactionsPath(path) ?? []);
    const value = this.#compactionsBoundary;
    if (value === undefined) return;
    const newestId = ids.reduce((a, b) => Math.max(a, b), 0);
    this.findings.push(...(await compactionsBoundaryFindings(this.#target, newestId, { exists: true, value })));
  }

  #add(finding: Finding, summary: string): void {
    this.findings.push({ ...finding, severity: 'warning', hint: makeHint(summary, 'none', [DOCTOR]) });
  }
}

function objectOf(path: string): FindingObject {
  const role: ObjectRole = path.startsWith(BOUNDARY_PREFIX)
    ? 'boundary'
    : path.startsWith(COMPACTIONS_PREFIX)
      ? 'compactions'
      : 'sidecar';
  return { role, path, id: path.replace(/^.*\//, ''), sealed: false };
}

function parseProfile(bytes: Uint8Array): void {
  try {
    JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw damage(
      'MALFORMED',
      { ...WHOLE_OBJECT, length: bytes.length },
      `the profile of the store is not JSON: ${error}`,
    );
  }
}

/** A file without a seal has no checksum: what was changed may show in its form. */
function decodeJobs(bytes: Uint8Array): void {
  const { compactions, bodyBytes } = decodeCompactions(bytes);
  const seal = decodeManifestSeal(bytes, bodyBytes, 'compactions');
  if (seal !== undefined || compactions.hasUnknownFields || isCanonicalCompactions(bytes)) return;
  const at = { unit: 'object' as const, offset: 0, length: bytes.length };
  throw damage('MALFORMED', at, 'the compactions file is not encoded as known versions of SlateDB do');
}
