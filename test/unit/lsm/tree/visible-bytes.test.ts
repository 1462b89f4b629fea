/** What a view shows, in bytes (the notation: tree-notation.ts); SlateDB's estimate is compared by its picks in size-tiered.test.ts. */
import { expect, it } from 'vitest';
import { visibleBytes } from '../../../../src/lsm/tree/visible-bytes.ts';
import { parseTrees } from '../../../support/tree-notation.ts';

const bytesOf = (table: string) => visibleBytes(parseTrees(`L0: ${table}`).manifest.l0[0]!);

it.each([
  ['1000', 1000, 'a whole table'],
  ['1000<ka,ku>[kf,)', 750, 'the example: 15 of 20 letters'],
  ['1000<ka,ku>[,kf)', 250, 'the other part'],
  ['1000<ka,ku>[ka,)', 1000, 'a range that cuts nothing'],
  ['1000<ka,ku>[ku,)', 1000, 'one key: nothing is known'],
  ['1000<k,k>[a,)', 1000, 'a table of one key'],
  ['1000<a,z>[b,baaaaaaaaab)', 15, 'the part that is compared is eight bytes'],
  ['1000<a,z>[baaaaaaaa,baaaaaaab)', 1000, 'keys that differ only later'],
  ['1000<a,z>[baaaaa,baaaab)', 1, 'at least a byte'],
])('%s shows %d bytes: %s', (table, bytes) => {
  expect(bytesOf(table)).toBe(bytes);
});

it('a table that does not say its last key counts as a whole', () => {
  const view = parseTrees('L0: 1000<ka,ku>[kf,)').manifest.l0[0]!;
  view.table.info.lastEntry = undefined;
  expect(visibleBytes(view)).toBe(1000);
});
