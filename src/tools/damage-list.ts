/** The ledger, for operators: what is lost and not yet acknowledged, and acknowledging it. */
import { InvalidArgumentError } from '../common/errors.ts';
import { checkedOptions, describeValue } from '../common/option-checks.ts';
import { appendLedger, type LedgerEntry, readLedger } from '../lsm/tree/damage-ledger.ts';
import { assertRemains, newestIfReadable } from './database-state.ts';
import { type Target, TOOL_CHECKS, type ToolOptions, withTarget } from './target.ts';

/**
 * All entries, oldest first, also those that are acknowledged or restored. What cannot be read of the ledger is an open entry, too,
 * of `level: 'unknown'`: never "no losses". Rejects with `InvalidArgumentError` where no database is. Two LISTs and two GETs, a
 * few LISTs more if there is no entry.
 */
export async function damageList(target: Target, options: ToolOptions = {}): Promise<LedgerEntry[]> {
  return withTarget(target, checkedOptions('damageList', options, TOOL_CHECKS), async (opened) => {
    const { stores, logger } = opened;
    const { entries, damage } = await readLedger(stores.main, await newestIfReadable(opened));
    if (entries.length === 0) await assertRemains(opened);
    for (const error of damage) logger.warn('a version of the ledger is damaged', { error: error.message });
    return [...entries];
  });
}

/**
 * Ends an entry: its loss no longer makes reads fail and no longer counts as open. Durable when it resolves; an open database as
 * target answers by it at once, another handle when it is opened again, a reader at its next `refresh`. The note says who
 * decided it and why, and stays: the same call again changes nothing, another note is refused. Rejects with `InvalidArgumentError` if
 * the ledger has no such entry, or it was ended with another note. Three LISTs, two GETs and a PUT.
 */
export async function damageAcknowledge(
  target: Target,
  id: string,
  note: string,
  options: ToolOptions = {},
): Promise<void> {
  const checked = checkedOptions('damageAcknowledge', options, TOOL_CHECKS);
  if (typeof id !== 'string' || id === '') {
    throw new InvalidArgumentError(
      'BAD_ARGUMENT',
      `damageAcknowledge needs the id of an entry, not ${describeValue(id)}; damageList shows them.`,
    );
  }
  if (typeof note !== 'string' || note.trim() === '') {
    throw new InvalidArgumentError('BAD_ARGUMENT', 'damageAcknowledge needs a note that says who decided it and why.');
  }
  await withTarget(target, checked, async (opened) => {
    await assertRemains(opened);
    const manifest = await newestIfReadable(opened);
    await appendLedger(
      opened.stores.main,
      (entries) => {
        const meant = entries.filter((e) => e.id === id);
        if (meant.length === 0) throw unknownEntry(opened.where, id, entries);
        if (meant.every((e) => e.state !== 'open')) {
          if (meant.some((e) => e.note === note)) return undefined;
          throw alreadyEnded(opened.where, meant[meant.length - 1]);
        }
        return entries.map((e) => (e.id === id && e.state === 'open' ? { ...e, state: 'acknowledged', note } : e));
      },
      opened,
      manifest,
    );
    await opened.openDb?.reloadLedger();
  });
}

function unknownEntry(where: string, id: string, entries: readonly LedgerEntry[]): InvalidArgumentError {
  const open = entries.filter((e) => e.state === 'open').map((e) => e.id);
  const known = open.length === 0 ? 'it has no open entry' : `open are ${open.slice(0, 10).join(', ')}`;
  return new InvalidArgumentError('BAD_ARGUMENT', `${where}: the ledger has no entry ${JSON.stringify(id)}; ${known}.`);
}

function alreadyEnded(where: string, { id, state, note }: LedgerEntry): InvalidArgumentError {
  const noted = note === undefined ? '' : `, with the note ${JSON.stringify(note)}`;
  return new InvalidArgumentError(
    'BAD_ARGUMENT',
    `${where}: entry ${id} is already ${state}${noted}. Its note stays, and nothing was changed.`,
  );
}
