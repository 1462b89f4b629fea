// What repairs have kept and what is known to be lost, as a table for the person who decides what may be deleted.
//
//   npm run build && node examples/repair/quarantine-report.mjs [LOCATION]
//
// The same from a program instead of the command line: the functions of `shaledb/admin`.
import { damageList, quarantineList, walRepair } from 'shaledb/admin';
import { withLocation } from './_damaged-database.mjs';

const DAY_MS = 86_400_000;
const isTrial = process.argv[2] === undefined;

await withLocation(async (location) => {
  // A damaged database is repaired first, so that there is something to report.
  if (isTrial) await walRepair(location, { apply: true, acceptLoss: true, liveCheckMs: 0 });

  const losses = await damageList(location);
  const open = new Set(losses.filter((l) => l.state === 'open').map((l) => l.id));
  console.log(`known losses: ${losses.length}, open: ${open.size}`);
  for (const { id, object, rows, exact, at, state } of losses) {
    console.log(`  ${id} ${state}: ${exact ? '' : 'at least '}${rows ?? 'unknown'} rows of ${object}, recorded ${at}`);
  }

  const copies = await quarantineList(location);
  console.log(`copies of originals: ${copies.length}`);
  for (const { repairId, from, bytes, storedAtMs, neededBy } of copies) {
    const days = Math.floor((Date.now() - storedAtMs) / DAY_MS);
    const verdict = neededBy.length > 0 ? `needed by ${neededBy.join(', ')}` : 'not needed by an open loss';
    console.log(`  ${repairId}: ${from}, ${bytes} bytes, ${days} days old, ${verdict}`);
  }
});
