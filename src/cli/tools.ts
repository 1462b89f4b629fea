/** The functions that commands stand on, as one object, so that a test can give others. */
import type * as admin from '../admin.ts';

export type Tools = Pick<
  typeof admin,
  | 'verify'
  | 'walInspect'
  | 'walRepair'
  | 'sstCheck'
  | 'sstInspect'
  | 'sstRepair'
  | 'manifestInspect'
  | 'manifestRepair'
  | 'damageList'
  | 'damageAcknowledge'
  | 'quarantineList'
  | 'quarantineRestore'
  | 'probe'
>;
