/** The functions that commands stand on, as one object, so that a test can give others. */
import type * as admin from '../admin.ts';
import type { LedgerEntry, ManifestReport, QuarantineEntry, RepairReport, ToolOptions } from '../admin.ts';

interface Pending {
  manifestInspect(target: string, id?: bigint, options?: ToolOptions): Promise<ManifestReport>;
  damageList(target: string, options?: ToolOptions): Promise<LedgerEntry[]>;
  damageAcknowledge(target: string, id: string, note: string, options?: ToolOptions): Promise<void>;
  quarantineList(target: string, options?: ToolOptions): Promise<QuarantineEntry[]>;
  quarantineRestore(
    target: string,
    repairId: string,
    options?: ToolOptions & Pick<admin.ManifestRepairOptions, 'apply' | 'ifLiveWriter' | 'liveCheckMs'>,
  ): Promise<RepairReport>;
}

export type Tools = Pick<
  typeof admin,
  'walInspect' | 'walRepair' | 'sstCheck' | 'sstInspect' | 'sstRepair' | 'manifestRepair' | 'verify' | 'probe'
> &
  Pending;
