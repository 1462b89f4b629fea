/** Reports as tools give them, made by hand: one database whose damage every rendering can be tried on. */
import type {
  CheckSummary,
  LedgerEntry,
  ManifestReport,
  QuarantineEntry,
  RepairReport,
  SstReport,
  VerifyReport,
  WalObjectReport,
} from '../../src/admin.ts';
import { type Finding, type FindingInput, makeFinding } from '../../src/common/finding.ts';
import type { Ulid } from '../../src/common/ulid.ts';
import type { Manifest, TableView } from '../../src/format/manifest-types.ts';
import type { TableInfo } from '../../src/format/table-info.ts';
import type { StoreProfile } from '../../src/index.ts';

export const key = (text: string) => new TextEncoder().encode(text);
export const TABLE_ID = '01JC0000000000000000000000' as Ulid;
export const OTHER_TABLE_ID = '01JB0000000000000000000000' as Ulid;

export function tableFinding(more: Partial<FindingInput> = {}): Finding {
  const path = `compacted/${TABLE_ID}.sst`;
  return makeFinding({
    code: 'BAD_CHECKSUM',
    object: { role: 'table', path, id: TABLE_ID, sealed: true, size: 20_000 },
    at: { unit: 'block', index: 1, offset: 4100, length: 4096 },
    affects: { keys: { gte: key('key/0136'), lte: key('key/0269') } },
    expected: 'crc32:00112233',
    found: 'crc32:44556677',
    origin: 'at-rest',
    remedy: 'heals',
    reads: { attempts: 2, identical: true, pastCaches: true },
    during: 'check',
    hint: {
      summary: 'Other data stays readable.',
      commands: [`shaledb sst repair LOCATION ${TABLE_ID}`],
      docs: 'docs/troubleshooting.md',
      lossIfRepaired: 'none',
    },
    ...more,
  });
}

export function walFinding(): Finding {
  return makeFinding({
    code: 'MISSING_OBJECT',
    object: { role: 'wal', path: 'wal/00000000000000000003.sst', id: '3', sealed: false },
    at: { unit: 'object', offset: 0, length: 0 },
    affects: { seqs: { min: 12n, max: 14n } },
    remedy: 'none',
  });
}

export function walObject(id: bigint, more: Partial<WalObjectReport> = {}): WalObjectReport {
  return {
    id,
    path: `wal/${id.toString().padStart(20, '0')}.sst`,
    size: 1234,
    sealed: true,
    state: 'ok',
    epoch: 1n,
    seqs: { min: id * 4n, max: id * 4n + 3n },
    chain: 'ok',
    batches: { total: 2, intact: 2, partial: 0, undecided: 0, lost: 0 },
    rows: { total: 4, verified: 4, probable: 0, suspect: 0, lost: 0 },
    findings: [],
    neededForRecovery: true,
    alsoIn: 'nowhere',
    ...more,
  };
}

export function damagedLog(): WalObjectReport[] {
  return [
    walObject(1n, { state: 'fence', rows: { verified: 0, probable: 0, suspect: 0, lost: 0 } }),
    walObject(2n),
    walObject(3n, {
      state: 'missing',
      size: 0,
      sealed: false,
      chain: 'unknown',
      batches: { intact: 0, partial: 0, undecided: 0, lost: 0 },
      rows: { verified: 0, probable: 0, suspect: 0, lost: 3 },
      findings: [walFinding()],
    }),
    walObject(4n, { chain: 'broken' }),
  ];
}

const INFO: TableInfo = {
  firstEntry: key('key/0000'),
  lastEntry: key('key/0499'),
  indexOffset: 17_000,
  indexLength: 200,
  filterOffset: 16_400,
  filterLength: 600,
  codec: 'none',
  tableType: 'compacted',
  statsOffset: 17_200,
  statsLength: 100,
  filterForm: 'legacy',
};

export function damagedTable(): SstReport {
  return {
    schemaVersion: 1,
    id: TABLE_ID,
    path: `compacted/${TABLE_ID}.sst`,
    size: 17_900,
    sealed: true,
    info: INFO,
    seal: { offset: 17_300, length: 500, state: 'ok' },
    infoEqualsManifest: true,
    filter: { kind: 'legacy', bits: 5000, probes: 6, estimatedFalsePositives: 0.0082 },
    findings: [tableFinding()],
    blocks: [0, 1, 2, 3].map((i) => ({
      offset: i * 4100,
      storedBytes: 4100,
      rawBytes: 4096,
      firstKey: key(`key/0${i}36`),
      lastKey: key(`key/0${i + 1}35`),
      rows: 125,
      crc: i === 1 ? ('bad' as const) : ('ok' as const),
      ...(i === 1 && { checks: { good: 31, bad: 1 }, diagnosis: 'one bit at 5,000: 0x61 was 0x60' }),
    })),
  };
}

function tableView(id: Ulid, first: string, last: string): TableView {
  const info = { ...INFO, firstEntry: key(first), lastEntry: key(last) };
  return { viewId: id, table: { id, info, formatVersion: 2 }, visibleRange: undefined };
}

export function manifestReport(): ManifestReport {
  const manifest: Manifest = {
    l0: [tableView(TABLE_ID, 'key/0000', 'key/0499')],
    runs: [{ id: 0, views: [tableView(OTHER_TABLE_ID, 'key/0250', 'key/0999')] }],
    lastCompacted: undefined,
    headerVersion: 1,
    externalDbs: [],
    initialized: true,
    writerEpoch: 3,
    compactorEpoch: 1,
    replayAfterWalId: 41,
    walIdLastSeen: 41,
    lastL0ClockTick: 0n,
    checkpoints: [],
    lastL0Seq: 1500,
    recentSnapshotMinSeq: 0,
    walStoreUri: undefined,
    sequenceTracker: undefined,
    segments: undefined,
    segmentExtractorName: undefined,
    unviewedTables: [],
    hasUnknownFields: false,
  };
  return {
    schemaVersion: 1,
    id: 12n,
    path: 'manifest/00000000000000000012.manifest',
    size: 800,
    sealed: true,
    manifest,
    seal: { offset: 600, length: 200, state: 'ok' },
    chain: 'ok',
    canonical: true,
    changes: [`table ${TABLE_ID} was added to level 0`],
    findings: [],
    notChecked: ['what is in the tables and in the log that it names'],
  };
}

export function repairReport(more: Partial<RepairReport> = {}): RepairReport {
  return {
    schemaVersion: 1,
    tool: 'sstRepair',
    repairId: 'r-0123456789abcdef01234567',
    planHash: '5f3a09c1',
    applied: false,
    alreadyDone: false,
    outcome: 'salvaged',
    before: [tableFinding()],
    rows: { expected: 500, recovered: 496, probable: 0, suspect: 0, lost: 4, lostExact: true },
    lostKeys: [{ gte: key('key/0140'), lte: key('key/0143') }],
    lostSeqs: [{ min: 141n, max: 144n }],
    shadowed: 0,
    evidence: [
      {
        from: `compacted/${TABLE_ID}.sst`,
        to: `shale/quarantine/r-0123456789abcdef01234567/compacted/${TABLE_ID}.sst`,
        sha256: 'ab'.repeat(32),
        bytes: 17_900,
      },
    ],
    newObjects: ['compacted/01JD0000000000000000000000.sst'],
    missingConsent: [],
    ledgerIds: [],
    nextSteps: [],
    requests: 12,
    tookMs: 85,
    ...more,
  };
}

export function ledgerEntries(): LedgerEntry[] {
  const entry: LedgerEntry = {
    id: 'f-0123456789abcdef',
    repairId: 'r-0123456789abcdef01234567',
    object: `compacted/${TABLE_ID}.sst`,
    level: 'l0',
    at: '2026-11-21T12:00:00.000Z',
    keys: [{ gte: key('key/0140'), lte: key('key/0143') }],
    seqs: [{ min: 141n, max: 144n }],
    rows: 4,
    exact: true,
    state: 'open',
  };
  return [entry, { ...entry, id: 'f-fedcba9876543210', state: 'acknowledged', note: 'restored elsewhere' }];
}

export function quarantineEntries(): QuarantineEntry[] {
  const { from, to, bytes } = repairReport().evidence[0];
  const repairId = 'r-0123456789abcdef01234567';
  return [{ repairId, from, to, bytes, storedAtMs: 1_795_168_418_650, neededBy: ['f-0123456789abcdef'] }];
}

export function checkSummary(more: Partial<CheckSummary> = {}): CheckSummary {
  return {
    verdict: 'corrupt',
    objects: 2,
    missing: 0,
    sealed: 2,
    bytesRead: 40_000,
    requests: 8,
    findings: { BAD_CHECKSUM: 1 },
    notChecked: ['what is in the log: only whether its objects are there'],
    tookMs: 40,
    ...more,
  };
}

export function verifyReport(more: Partial<VerifyReport> = {}): VerifyReport {
  return {
    schemaVersion: 1,
    verdict: 'corrupt',
    findings: [tableFinding(), walFinding()],
    sst: checkSummary(),
    wal: { objects: 4, damaged: 0, missing: 1, rows: 8 },
    manifests: { newest: 12n, checked: 3, newestGood: 12n },
    ledger: ledgerEntries(),
    store: { suitable: 'not-probed', problems: [] },
    cannotKnow: [],
    nextSteps: ['shaledb wal repair LOCATION', `shaledb sst repair LOCATION ${TABLE_ID}`],
    requests: 20,
    tookMs: 2100,
    ...more,
  };
}

export function storeProfile(more: Partial<StoreProfile> = {}): StoreProfile {
  return {
    schemaVersion: 1,
    probedAtMs: 1_795_168_418_650,
    conditionalCreate: true,
    ifMatch: 'supported',
    rangedReads: true,
    suffixReads: true,
    readAfterWrite: true,
    listAfterWrite: true,
    listAfterDelete: true,
    metadata: true,
    storeTime: true,
    problems: [],
    ...more,
  };
}
