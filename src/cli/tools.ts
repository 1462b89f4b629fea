/**
 * The functions that commands stand on, as one object, so that a test can give others. Signatures are those of the admin
 * entry with the location as text.
 */
import type {
  Acceptance,
  CheckSummary,
  LedgerEntry,
  ManifestReport,
  QuarantineEntry,
  RepairReport,
  SstReport,
  VerifyReport,
  WalObjectReport,
} from '../admin.ts';
import type { Finding, StoreProfile } from '../index.ts';

export type Apply = boolean | { planHash: string };
export type LiveWriter = 'refuse' | 'fence';
export type CheckLevel = 'refs' | 'tails' | 'blocks' | 'rows' | 'cross';

export interface Tools {
  walInspect(
    target: string | undefined,
    options?: {
      from?: bigint;
      to?: bigint;
      rows?: 'none' | 'keys' | 'full';
      raw?: { id: bigint; bytes: Uint8Array }[];
    },
  ): AsyncIterable<WalObjectReport>;
  walRepair(
    target: string,
    options?: {
      apply?: Apply;
      mode?: 'recover' | 'truncate';
      onPartialBatch?: 'drop' | 'keep-verified-rows';
      accept?: Acceptance;
      ifLiveWriter?: LiveWriter;
      liveCheckMs?: number;
      maxLoss?: { rows?: number; walObjects?: number };
    },
  ): Promise<RepairReport>;
  sstCheck(
    target: string,
    options?: {
      level?: CheckLevel;
      scope?: 'live' | 'checkpoints' | 'all';
      concurrency?: number;
      bytesPerSecond?: number;
      resumeFrom?: string;
      signal?: AbortSignal;
    },
  ): AsyncIterable<Finding> & { summary(): Promise<CheckSummary> };
  sstInspect(
    target: string,
    what: string | { bytes: Uint8Array },
    options?: { rows?: boolean; hexOfBad?: boolean },
  ): Promise<SstReport>;
  sstRepair(
    target: string,
    id: string,
    options?: {
      apply?: Apply;
      sources?: string[];
      accept?: Acceptance;
      onLoss?: 'refuse' | 'mark' | 'accept';
      acceptResurrection?: boolean;
      ifLiveWriter?: LiveWriter;
      liveCheckMs?: number;
    },
  ): Promise<RepairReport>;
  manifestInspect(target: string, id?: bigint): Promise<ManifestReport>;
  manifestRepair(
    target: string,
    options?: {
      strategy?: 'auto' | 'heal' | 'previous' | 'roll-forward';
      apply?: Apply;
      ifLiveWriter?: LiveWriter;
      liveCheckMs?: number;
      acceptResurrection?: boolean;
    },
  ): Promise<RepairReport>;
  verify(target: string, options?: { level?: CheckLevel; probe?: boolean }): Promise<VerifyReport>;
  damageList(target: string): Promise<LedgerEntry[]>;
  damageAcknowledge(target: string, id: string, note: string): Promise<void>;
  quarantineList(target: string): Promise<QuarantineEntry[]>;
  quarantineRestore(
    target: string,
    repairId: string,
    options?: { apply?: Apply; ifLiveWriter?: LiveWriter; liveCheckMs?: number },
  ): Promise<RepairReport>;
  probe(target: string): Promise<StoreProfile>;
}

/** The options that a tool takes. */
export type OptionsOf<K extends keyof Tools> = NonNullable<
  Parameters<Tools[K]>[K extends 'sstInspect' | 'sstRepair' | 'quarantineRestore' ? 2 : 1]
>;
