/** Tables taken apart whatever was done to their bytes: no exception, every place inside of the object, every good block found. */
import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../../../src/common/random.ts';
import { CRC_BYTES } from '../../../../src/format/framing.ts';
import { decodeInfo } from '../../../../src/format/info-block.ts';
import { decodeFooter, FOOTER_BYTES } from '../../../../src/format/table-layout.ts';
import type { KnownTable } from '../../../../src/lsm/table/table-anatomy.ts';
import { dissectTail, findBlocks } from '../../../../src/lsm/table/table-anatomy.ts';
import { examineTable } from '../../../../src/tools/sst-inspect.ts';
import { goldenFixture } from '../../../support/golden-fixtures.ts';
import { numbers, tablesOf, tablesWorld } from '../../../support/table-database.ts';

const ROUNDS = 400;
/** Four blocks in units of 1 KiB. */
const ALIGNED = '01M8KDEGHE64SJ8S9Y5JPTGXYR.sst';

async function soundTable(): Promise<{ bytes: Uint8Array; known: KnownTable }> {
  const world = await tablesWorld([numbers(0, 60)]);
  const [{ ref, path }] = await tablesOf(world);
  return { bytes: await world.bytes(path), known: { id: ref.id, path, info: ref.info, formatVersion: 2 } };
}

/** With padding after its blocks, as SlateDB 0.18 aligns them, and without a seal. */
function alignedTable(): { bytes: Uint8Array; known: KnownTable } {
  const [table] = goldenFixture('slatedb-0.18.0/aligned-compacted').objects.filter(({ path }) =>
    path.endsWith(ALIGNED),
  );
  const { infoOffset, formatVersion } = decodeFooter(table.bytes, table.bytes.length);
  const info = decodeInfo(table.bytes.subarray(infoOffset, table.bytes.length - FOOTER_BYTES - CRC_BYTES));
  return { bytes: table.bytes, known: { path: table.path, info, formatVersion } };
}

/** Flips, runs, cuts and insertions, several at once. */
function mutate(pristine: Uint8Array, random: SeededRandom): Uint8Array {
  let bytes = pristine.slice();
  const below = (n: number) => random.nextUint32() % Math.max(1, n);
  for (let i = below(4); i >= 0; i--) {
    const at = below(bytes.length);
    const kind = below(5);
    if (kind === 0) bytes[at] ^= 1 << below(8);
    else if (kind === 1) bytes.fill(below(256), at, at + below(200));
    else if (kind === 2) bytes = bytes.slice(0, at);
    else if (kind === 3)
      bytes = new Uint8Array(Buffer.concat([bytes.subarray(0, at), pristine.subarray(50, 59), bytes.subarray(at)]));
    else bytes.copyWithin(at, below(bytes.length), below(bytes.length));
    if (bytes.length === 0) return bytes;
  }
  return bytes;
}

describe('a damaged table', () => {
  it.each([
    ['of ours', soundTable],
    ['that is aligned', async () => alignedTable()],
  ])('%s is taken apart, with and without what the manifest says of it', async (_, make) => {
    const { bytes: pristine, known } = await make();
    const random = new SeededRandom(20261121);
    for (let round = 0; round < ROUNDS; round++) {
      const bytes = mutate(pristine, random);
      for (const from of [known, { path: '' }]) {
        const { findings, blocks } = await examineTable(bytes, from, 'check');
        for (const f of findings) expect(f.at.offset, `round ${round}`).toBeGreaterThanOrEqual(0);
        for (const b of blocks) expect(b.stored.length, `round ${round}`).toBeLessThanOrEqual(bytes.length);
        if (Buffer.compare(bytes, pristine) !== 0) expect(findings.length, `round ${round}`).toBeGreaterThan(0);
      }
    }
  });

  it.each([
    ['of ours', soundTable],
    ['that is aligned', async () => alignedTable()],
  ])('%s is read from its tail alone like from all of it', async (_, make) => {
    const { bytes, known } = await make();
    const from = known.info!.filterOffset;
    const whole = await dissectTail(bytes, 0, known, 'check');
    const tail = await dissectTail(bytes.subarray(from), from, known, 'check');
    expect(tail.findings).toEqual([]);
    expect({ ...tail, index: 0, codec: 0, filter: 0 }).toEqual({ ...whole, index: 0, codec: 0, filter: 0 });
    expect((await findBlocks(bytes, tail)).from).toBe('index');
  });
});
