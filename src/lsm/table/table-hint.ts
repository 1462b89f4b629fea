/** The advice for an operator with a damaged table, and what following it can cost. */
import type { Hint } from '../../common/advice.ts';
import type { Finding } from '../../common/finding.ts';
import { tableRepairHint } from './table-anatomy.ts';

/** `LOCATION` stands for what was given to `open`: a table does not know it. */
export function tableHint(tableId: string, remedy: Finding['remedy']): Hint {
  const { summary, lossIfRepaired } = advice(remedy);
  return tableRepairHint(tableId, summary, lossIfRepaired);
}

function advice(remedy: Finding['remedy']): Pick<Hint, 'summary' | 'lossIfRepaired'> {
  switch (remedy) {
    case 'heals':
      return {
        summary: 'Reads undo this damage, proven by the row checks. A repair rewrites the table and loses nothing.',
        lossIfRepaired: 'none',
      };
    case 'rebuilds':
      return {
        summary: 'No row is lost: this part can be rebuilt from the blocks. A repair rewrites the table.',
        lossIfRepaired: 'none',
      };
    case 'heals-probably':
      return {
        summary:
          'Changing one bit would make this block valid; nothing else confirms it. A repair applies that change; reads flag such rows as possibly wrong.',
        lossIfRepaired: 'possible',
      };
    case 'salvages':
      return {
        summary:
          'Rows of this block that their checks prove stay readable. A repair keeps them, and loses the others unless the log or compaction inputs still hold them.',
        lossIfRepaired: 'possible',
      };
    default:
      return {
        summary:
          'These keys cannot be read from this table; all others can. A repair searches longer than a read; rows that it cannot restore are lost unless the log or compaction inputs still hold them.',
        lossIfRepaired: 'possible',
      };
  }
}
