/**
 * Every table of every database here is missing once: a scan in either direction ends, with the rows of all other tables, and says
 * at least once what is missing. A cursor that asks for the same table forever would run into the limit of requests.
 */
import { describe, expect, it } from 'vitest';
import { isCorruption } from '../../src/common/errors.ts';
import { BlockCache } from '../../src/lsm/table/block-cache.ts';
import { openReader } from '../../src/open.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';
import { forwarding } from '../support/forwarding-store.ts';
import { CONCAT, goldenInMemory } from '../support/golden-database.ts';
import { type GoldenFixture, goldenFixtures } from '../support/golden-fixtures.ts';

const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
/** Many times what any scan of these small databases needs. */
const MOST_GETS = 2000;

/** Without the objects whose path ends like this, and with no more than so many GETs. */
function without(store: ObjectStore, end: string): ObjectStore {
  let gets = 0;
  return {
    ...forwarding(store),
    async get(path, options) {
      if (++gets > MOST_GETS) throw new Error(`more than ${MOST_GETS} GETs`);
      return path.endsWith(end) ? undefined : store.get(path, options);
    },
  };
}

/** Some that surely read tables, so that the test cannot pass by damaging nothing. */
const WITH_TABLES = ['slatedb-0.12.1/compacted', 'slatedb-0.17.0/collected', 'slatedb-0.18.0/incremental'];

const tablesOf = ({ objects }: GoldenFixture) => objects.map(({ path }) => path).filter((p) => p.includes('compacted/'));

describe.each(goldenFixtures().map((f) => [f.name, f] as const))('%s', (_, fixture) => {
  it.each(['forward', 'reverse'])('a scan ends whichever table is missing (%s)', async (direction) => {
    const { store, ...place } = await goldenInMemory(fixture);
    const scanned = async (missing: string, cacheBytes = 1 << 20) => {
      const end = missing.slice(missing.lastIndexOf('/'));
      const location = { ...place, store: without(store, end) };
      const cache = new BlockCache({ capacityBytes: cacheBytes });
      const options = { logger: QUIET, mergeOperator: CONCAT, hideExpired: false, cache };
      const reader = await openReader(location, options);
      const keys: string[] = [];
      let errors = 0;
      const rows = reader.scan({ reverse: direction === 'reverse' });
      for (let more = true; more; ) {
        try {
          const { done, value } = await rows.next();
          more = done !== true;
          if (value !== undefined) keys.push(Buffer.from(value.key).toString('hex'));
        } catch (error) {
          if (!isCorruption(error)) throw error;
          errors++;
        }
      }
      await reader.close();
      return { keys, errors };
    };
    const whole = await scanned('/none');
    expect(whole.errors).toBe(0);
    expect(await scanned('/none', 0)).toEqual(whole);
    let shown = 0;
    for (const table of tablesOf(fixture)) {
      const { keys, errors } = await scanned(table);
      // Nothing is made up, and the order stays.
      const left = whole.keys.filter((key) => keys.includes(key));
      expect({ table, keys }).toEqual({ table, keys: left });
      if (left.length < whole.keys.length) expect(errors, table).toBeGreaterThan(0);
      shown += errors;
    }
    if (WITH_TABLES.includes(fixture.name)) expect(shown).toBeGreaterThan(0);
  });
});
