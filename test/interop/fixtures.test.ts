/**
 * Databases that SlateDB left, written on by us in every form that we accept for them, and opened again by the live SlateDB of the
 * same release: it must show every row, its own and ours, by scan and by get. Where that release has no live partner here, or does
 * not know the form, the next one opens them.
 */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { IncompatibleError } from '../../src/common/errors.ts';
import type { Db } from '../../src/db/db.ts';
import type { Compatibility } from '../../src/db/open-options.ts';
import { open } from '../../src/open.ts';
import { describeWithSlateDb017, describeWithSlateDb018 } from '../support/environment.ts';
import {
  clockFrom,
  copyGolden,
  type GoldenScanRow,
  goldenReadOptions,
  goldenScanRow,
  goldenTimeOf,
} from '../support/golden-database.ts';
import { type GoldenFixture, goldenFixtures } from '../support/golden-fixtures.ts';
import type { LiveSlateDb, SlateDbOpenOptions, SlateDbPlace } from '../support/live-slatedb.ts';
import { slateDb012 } from '../support/slatedb-012.ts';
import { slateDb017 } from '../support/slatedb-017.ts';
import { slateDb018 } from '../support/slatedb-018.ts';

const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
const COMPATIBILITIES: Compatibility[] = ['auto', 'slatedb-0.12', 'slatedb-0.17'];
const NEW_ROWS = 10;

type Case = { fixture: GoldenFixture; name: string; compatibility: Compatibility };

function casesOf(reader: LiveSlateDb['version']): Case[] {
  const cases = goldenFixtures().flatMap((fixture) =>
    COMPATIBILITIES.map((compatibility) => ({ fixture, name: fixture.name, compatibility })),
  );
  return cases.filter((c) => readerOf(c) === reader);
}

function readerOf({ name, compatibility }: Case): LiveSlateDb['version'] {
  if (name.startsWith('slatedb-0.18.0/')) return '0.18.0';
  if (name.startsWith('slatedb-0.12.1/') && compatibility !== 'slatedb-0.17') return '0.12.1';
  return '0.17.0';
}

async function writeOn(db: Db): Promise<GoldenScanRow[]> {
  const rows: GoldenScanRow[] = [];
  for (let i = 0; i < NEW_ROWS; i++) {
    // Sorts after the keys of all fixtures.
    const [key, value] = [`~shaledb-${i}`, `value ${i}`];
    const { seq } = await db.put(key, value, { awaitDurable: false });
    const hex = (text: string) => Buffer.from(text).toString('hex');
    rows.push({ key: hex(key), value: hex(value), seq: String(seq) });
    if (i === NEW_ROWS >> 1) await db.flush({ type: 'memtable' });
  }
  return rows;
}

async function refusalOrRows({ fixture, compatibility }: Case, location: Parameters<typeof open>[0]) {
  const options = { ...goldenReadOptions(fixture.expected), clock: clockFrom(goldenTimeOf(fixture)), logger: QUIET };
  let db: Db;
  try {
    db = await open(location, { ...options, compatibility });
  } catch (refusal) {
    return { refusal };
  }
  const rows = await writeOn(db);
  await db.close();
  return { rows };
}

function withSlate(version: LiveSlateDb['version'], make: () => LiveSlateDb): void {
  it.each(casesOf(version))('$name, written on by us with compatibility $compatibility', async (one) => {
    const { fixture, compatibility } = one;
    using copy = copyGolden(fixture);
    const { refusal, rows } = await refusalOrRows(one, copy.location);
    if (refusal !== undefined) {
      // `write.test.ts` beside the fixtures says which are refused, and that nothing is changed.
      expect(refusal).toBeInstanceOf(IncompatibleError);
      if (compatibility === 'auto') expect(fixture.name).toMatch(/\/segments$/);
      return;
    }
    const { place, options } = slateArguments(fixture, copy.directory);
    const slate = make();
    try {
      await slate.open(place, options);
      const shown = await slate.scan();
      const values = await slate.getMany(shown.map((row) => row.key));
      // It hides no expired row before a compaction.
      const wanted = [...(fixture.expected.scan as GoldenScanRow[]), ...rows!];
      expect(shown.map(goldenScanRow)).toEqual(wanted.map(({ key, value, seq }) => ({ key, value, seq })));
      expect(values).toEqual(shown.map((row) => row.value));
    } finally {
      await slate.crash();
    }
  });
}

function slateArguments(
  { expected }: GoldenFixture,
  directory: string,
): { place: SlateDbPlace; options: SlateDbOpenOptions } {
  const options: SlateDbOpenOptions = goldenReadOptions(expected).mergeOperator ? { mergeOperator: 'concat' } : {};
  if (typeof expected.db_path === 'string') return { place: { directory, path: expected.db_path }, options };
  const walPlace = { directory: join(directory, 'wal'), path: 'db' };
  return { place: { directory: join(directory, 'main'), path: 'db' }, options: { ...options, walPlace } };
}

describe('opened again by SlateDB 0.12.1', () => withSlate('0.12.1', slateDb012));
describeWithSlateDb017('opened again by SlateDB 0.17.0', () => withSlate('0.17.0', slateDb017));
describeWithSlateDb018('opened again by SlateDB 0.18.0', () => withSlate('0.18.0', slateDb018));
