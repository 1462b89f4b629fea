// A process that writes, for tests of the command line: `node cli-child.mjs LOCATION ROWS [forever]`. Writes batches of 20 rows
// and dies by SIGKILL; with `forever` it goes on with a row every 50 ms until it is fenced, and says so.
import { isDbError, open, WriteBatch } from '../../dist/index.js';

const [location, rows, forever] = process.argv.slice(2);
const db = await open(location);
for (let n = 0; n < Number(rows); n += 20) {
  const batch = new WriteBatch();
  for (let i = n; i < n + 20; i++) batch.put(`row/${String(i).padStart(4, '0')}`, `value ${i}`);
  await db.write(batch);
}
console.log('written');
if (forever === undefined) process.kill(process.pid, 'SIGKILL');
for (let i = 0; ; i++) {
  try {
    await db.put(`later/${i}`, 'value');
  } catch (error) {
    console.log(isDbError(error) ? error.code : String(error));
    process.exit(0);
  }
  await new Promise((resolve) => setTimeout(resolve, 50));
}
