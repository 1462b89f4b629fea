/**
 * Live SlateDB 0.18.0: a Rust program of our own around the crate (slatedb-018/), in a process of its own. Use it inside
 * `describeWithSlateDb018`.
 */
import { testEnvironment } from './environment.ts';
import { type LiveSlateDb, liveSlateDb } from './live-slatedb.ts';

export function slateDb018(): LiveSlateDb {
  const found = testEnvironment().slateDb018;
  if ('missing' in found) throw new Error(`SlateDB 0.18 is missing: ${found.missing}`);
  return liveSlateDb({ version: '0.18.0', command: found.program, args: ['lines'] });
}
