/** Which ids come before that of a new table, as data: a manifest (the notation: manifest-script.ts) and the table it comes after. */
import { describe, expect, it } from 'vitest';
import { greatestUlid, newestLevelZeroId } from '../../../../src/lsm/manifest/table-order.ts';
import { parseManifest, tableId } from '../../../support/manifest-script.ts';

const CASES: readonly [script: string, greatest: string | undefined, newestInLevelZero: string | undefined][] = [
  ['nothing', undefined, undefined],
  ['l0 B A', 'B', 'B'],
  ['l0 A B', 'B', 'B'],
  ['l0 D:B A', 'D', 'B'],
  ['marker C', 'C', 'C'],
  ['l0 B; marker C', 'C', 'C'],
  ['l0 D; marker C', 'D', 'D'],
  ['l0 B; run 1 D C', 'D', 'B'],
  ['l0 B; run 1 E:D C', 'E', 'B'],
  ['run 1 D', 'D', undefined],
  ['l0 B; seg p l0 C', 'C', 'B'],
  ['l0 B; seg p run 1 D', 'D', 'B'],
  ['l0 B; seg p marker E', 'E', 'B'],
  ['l0 B; loose Z', 'B', 'B'],
];

const idOf = (name: string | undefined) => (name === undefined ? undefined : tableId(name));

describe('the order of tables', () => {
  it.each(CASES)('%s: a new table comes after %s, one of level 0 came after %s', (script, greatest, newest) => {
    const manifest = parseManifest(script);
    expect(greatestUlid(manifest)).toBe(idOf(greatest));
    expect(newestLevelZeroId(manifest)).toBe(idOf(newest));
  });

  it('counts an id that was drawn since', () => {
    const manifest = parseManifest('l0 B');
    expect(greatestUlid(manifest, tableId('A'))).toBe(tableId('B'));
    expect(greatestUlid(manifest, tableId('C'))).toBe(tableId('C'));
    expect(greatestUlid(parseManifest('nothing'), tableId('C'))).toBe(tableId('C'));
  });
});
