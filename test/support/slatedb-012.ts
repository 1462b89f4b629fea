/** Live SlateDB 0.12.1, the oldest version we promise to work beside: the npm package, in a Node process of its own. */
import { join } from 'node:path';
import { REPOSITORY_ROOT } from './environment.ts';
import { type LiveSlateDb, liveSlateDb } from './live-slatedb.ts';

export function slateDb012(): LiveSlateDb {
  const driver = join(REPOSITORY_ROOT, 'test', 'support', 'slatedb-012-driver.mjs');
  return liveSlateDb({ version: '0.12.1', command: process.execPath, args: [driver] });
}
