/** The functions that commands stand on, as one object, so that a test can give others. */
import type * as admin from '../admin.ts';
import type * as main from '../index.ts';

type AdminTools = Pick<
  typeof admin,
  | 'verify'
  | 'walInspect'
  | 'walRepair'
  | 'sstCheck'
  | 'sstInspect'
  | 'sstRepair'
  | 'manifestDiff'
  | 'manifestInspect'
  | 'manifestList'
  | 'manifestRepair'
  | 'damageList'
  | 'damageAcknowledge'
  | 'quarantineList'
  | 'quarantineRestore'
  | 'probe'
  | 'gcOnce'
  | 'compact'
  | 'stats'
  | 'treeInspect'
  | 'objectList'
  | 'repair'
  | 'writerInspect'
>;

export interface Tools extends AdminTools {
  open(location: main.Location, options?: main.OpenOptions & InBytes): Promise<main.Db>;
  openReader(location: main.Location, options?: main.ReaderOptions & InBytes): Promise<main.Reader>;
}

/** Commands see bytes, whatever encodings a database remembers. */
type InBytes = main.EncodingOptions<'bytes', 'bytes'>;
