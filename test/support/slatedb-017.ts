/** Live SlateDB 0.17.0: the Python package, in a process of its own. Use it inside `describeWithSlateDb017`. */
import { join } from 'node:path';
import { REPOSITORY_ROOT, testEnvironment } from './environment.ts';
import { type LiveSlateDb, liveSlateDb } from './live-slatedb.ts';

export function slateDb017(): LiveSlateDb {
  const found = testEnvironment().slateDb017;
  if ('missing' in found) throw new Error(`SlateDB 0.17 is missing: ${found.missing}`);
  const driver = join(REPOSITORY_ROOT, 'test', 'support', 'slatedb_017_driver.py');
  return liveSlateDb({ version: '0.17.0', command: found.python, args: [driver] });
}
