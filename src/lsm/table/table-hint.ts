/** What an operator is told to do about a damaged table, and what that can cost. */
import type { Finding, Hint } from '../../common/errors.ts';
import { repairHint } from './table-anatomy.ts';

/** `LOCATION` stands for what was given to `open`: a table does not know it. */
export function tableHint(tableId: string, remedy: Finding['remedy']): Hint {
  const { summary, lossIfRepaired } = advice(remedy);
  return repairHint(tableId, summary, lossIfRepaired);
}

function advice(remedy: Finding['remedy']): Pick<Hint, 'summary' | 'lossIfRepaired'> {
  switch (remedy) {
    case 'heals':
      return {
        summary: 'Reads undo this damage, proven by the row checks. A repair writes the table anew and loses nothing.',
        lossIfRepaired: 'none',
      };
    case 'rebuilds':
      return {
        summary: 'No row is lost: this part can be made again from the blocks. A repair writes the table anew.',
        lossIfRepaired: 'none',
      };
    case 'heals-probably':
      return {
        summary:
          'One changed bit would mend this block; nothing else confirms it. A repair takes it, and reads show such rows as possibly wrong.',
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
          'These keys cannot be read from this table; all others can. A repair searches longer than a read; rows that it cannot mend are lost unless the log or compaction inputs still hold them.',
        lossIfRepaired: 'possible',
      };
  }
}
