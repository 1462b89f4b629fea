// For the start of a service: repairs the log if it is damaged, but only if no row is lost or a person has allowed the loss;
// then the service may open the database. Two processes may run this at once: one of them is refused.
//
//   npm run build && node examples/repair/repair-before-start.mjs [LOCATION [MOST_ROWS_TO_LOSE]]
import { open } from 'shaledb';
import { withLocation } from './_damaged-database.mjs';
import { EXIT, shaledb } from './_shaledb.mjs';

const isTrial = process.argv[2] === undefined;
const mostRowsToLose = process.argv[3] ?? (isTrial ? '20' : '0');

async function repair(location) {
  const { code: state } = await shaledb('wal', 'inspect', location, '--quiet');
  if (state !== EXIT.damage) return state;
  console.log('the log is damaged');
  const { code, documents } = await shaledb('wal', 'repair', location, '--apply', '--max-lost-rows', mostRowsToLose);
  const [report] = documents;
  if (code === EXIT.repaired) console.log(`repaired without loss: ${report.rows.recovered} rows`);
  if (code === EXIT.repairedWithLoss) {
    console.log(
      `repaired: ${report.rows.recovered} rows kept, ${report.rows.lost} lost; in the ledger as ${report.ledgerIds}`,
    );
  }
  if (code === EXIT.notRepaired)
    console.log('not repaired: more rows could be lost than allowed. A person has to decide.');
  if (code === EXIT.conflict) console.log('not repaired: another process uses the database');
  return code;
}

await withLocation(async (location) => {
  const code = await repair(location);
  const mayStart = [EXIT.clean, EXIT.repaired, EXIT.repairedWithLoss].includes(code);
  if (!mayStart) {
    process.exitCode = code;
    return;
  }
  const db = await open(location);
  let rows = 0;
  for await (const _ of db.scan()) rows++;
  console.log(`the service starts with ${rows} rows`);
  await db.close();
});
