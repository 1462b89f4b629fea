/** The functions that commands stand on, as one object, so that a test can give others. */
import type * as admin from '../admin.ts';
import type {
  LedgerEntry,
  ManifestReport,
  QuarantineEntry,
  RepairReport,
  ToolOptions,
  VerifyReport,
} from '../admin.ts';

export interface VerifyOptions extends ToolOptions {
  level?: 'refs' | 'tails' | 'blocks' | 'rows' | 'cross';
  probe?: boolean;
}
export interface ManifestRepairOptions extends ToolOptions {
  strategy?: 'auto' | 'heal' | 'previous' | 'roll-forward';
  apply?: boolean | { planHash: string };
  ifLiveWriter?: 'refuse' | 'fence';
  liveCheckMs?: number;
  acceptResurrection?: boolean;
}
interface Pending {
  manifestInspect(target: string, id?: bigint, options?: ToolOptions): Promise<ManifestReport>;
  manifestRepair(target: string, options?: ManifestRepairOptions): Promise<RepairReport>;
  verify(target: string, options?: VerifyOptions): Promise<VerifyReport>;
  damageList(target: string, options?: ToolOptions): Promise<LedgerEntry[]>;
  damageAcknowledge(target: string, id: string, note: string, options?: ToolOptions): Promise<void>;
  quarantineList(target: string, options?: ToolOptions): Promise<QuarantineEntry[]>;
  quarantineRestore(
    target: string,
    repairId: string,
    options?: ToolOptions & Pick<ManifestRepairOptions, 'apply' | 'ifLiveWriter' | 'liveCheckMs'>,
  ): Promise<RepairReport>;
}

export type Tools = Pick<typeof admin, 'walInspect' | 'walRepair' | 'sstCheck' | 'sstInspect' | 'sstRepair' | 'probe'> &
  Pending;
