/**
 * `npm run healing -- [--trials N] [--seed N]`: how much of small damage is undone and how long that takes, how many rows of
 * badly damaged blocks are found again. N blocks are salvaged in all (default 100,000) and a tenth of that healed, each
 * damaged at random; one wrong row or one wrong heal of a sealed block is a failure, exit code 1.
 */
import { parseArgs } from 'node:util';
import { SeededRandom } from '../../src/common/random.ts';
import { healBlock, READ_WORK_PER_MIB, REPAIR_WORK_PER_MIB } from '../../src/format/block-healing.ts';
import { loadCodec, NO_CODEC } from '../../src/format/codecs.ts';
import { errorsAt } from '../../src/format/crc-syndrome.ts';
import type { RowsPerCheck } from '../../src/format/row-checks.ts';
import { salvageBlock } from '../../src/format/salvage.ts';
import { CODECS, type TableType } from '../../src/format/table-info.ts';
import { plainRows, type SampleBlock, sampleBlocks } from './samples.ts';
import { burst, formOf, newSalvageTally, newTally, tryHeal, trySalvage } from './trials.ts';

const { values } = parseArgs({
  options: { trials: { type: 'string', default: '100000' }, seed: { type: 'string', default: '1' } },
});
const trials = Number(values.trials);
const seed = Number(values.seed);
const rows = plainRows(seed, 2000);

interface Checks {
  name: string;
  tableType: TableType;
  rowsPerCheck: RowsPerCheck;
  isAligned?: boolean;
}

/** 100-byte rows get a check for every four of them by themselves. */
const CHECKS: readonly Checks[] = [
  { name: 'table, automatic', tableType: 'compacted', rowsPerCheck: 4 },
  // Blocks of the same size with zeros after them, as SlateDB 0.18 aligns them: what heals and salvages must not differ.
  { name: 'table, padded', tableType: 'compacted', rowsPerCheck: 4, isAligned: true },
  { name: 'table, per row', tableType: 'compacted', rowsPerCheck: 1 },
  { name: 'table, per 16 rows', tableType: 'compacted', rowsPerCheck: 16 },
  { name: 'WAL', tableType: 'wal', rowsPerCheck: 1 },
];

let wrong = 0;
await healing();
await salvage();
search();
console.log(wrong === 0 ? 'no wrong heal of a sealed block, no wrong row' : `${wrong} WRONG`);
process.exit(wrong === 0 ? 0 : 1);

/** All blocks but the last, which is shorter. */
function fullBlocks(form: Parameters<typeof sampleBlocks>[0]): SampleBlock[] {
  return sampleBlocks(form, rows).slice(0, -1);
}

async function healing(): Promise<void> {
  console.log('Healed bit for bit, blocks of 4 KiB, rows of 100 bytes; ms per block: median (slowest)');
  const cases: [string, SampleBlock[], typeof NO_CODEC, number, boolean][] = [];
  for (const { name, ...checks } of CHECKS) {
    const blocks = fullBlocks({ ...checks, codec: NO_CODEC });
    for (const width of [1, 2, 3, 4]) cases.push([name, blocks, NO_CODEC, width, true]);
  }
  for (const codecName of CODECS.slice(1)) {
    const codec = await loadCodec(codecName);
    const blocks = fullBlocks({ tableType: 'compacted', rowsPerCheck: 4, codec });
    for (const width of [1, 2, 3]) cases.push([`table, ${codecName}`, blocks, codec, width, true]);
  }
  const unsealed = fullBlocks({ tableType: 'compacted', rowsPerCheck: 0, codec: NO_CODEC });
  cases.push(['without a seal', unsealed, NO_CODEC, 0, false], ['without a seal', unsealed, NO_CODEC, 1, false]);
  const padded = fullBlocks({ tableType: 'compacted', rowsPerCheck: 0, codec: NO_CODEC, isAligned: true });
  cases.push(['padded, no seal', padded, NO_CODEC, 0, false], ['padded, no seal', padded, NO_CODEC, 1, false]);
  const each = Math.max(1, Math.round(trials / 10 / cases.length));
  for (const [name, blocks, codec, width, sealed] of cases) {
    const random = new SeededRandom(seed + width);
    const tally = newTally();
    const times: number[] = [];
    for (let i = 0; i < each; i++) {
      const block = blocks[i % blocks.length];
      const damaged = width === 0 ? oneBit(random, block.stored) : burst(random, block.stored, width);
      const startedMs = performance.now();
      tryHeal(block, damaged, codec, tally, { sealed, bounds: { order: sealed ? undefined : 'keys' } });
      times.push(performance.now() - startedMs);
    }
    times.sort((a, b) => a - b);
    if (sealed) wrong += tally.wrong;
    const damage = width === 0 ? '1 bit' : `${width} byte${width > 1 ? 's' : ''}`;
    console.log(
      `  ${name.padEnd(20)} ${damage.padEnd(8)} ${percent(tally.exact, each)} of ${each}, ${tally.wrong} wrong,` +
        ` ${times[each >>> 1].toFixed(3)} (${times[each - 1].toFixed(1)})`,
    );
  }
}

function oneBit(random: SeededRandom, stored: Uint8Array): Uint8Array {
  const out = stored.slice();
  const bit = random.nextUint32() % (8 * stored.length);
  out[bit >>> 3] ^= 1 << (bit & 7);
  return out;
}

async function salvage(): Promise<void> {
  console.log('Rows verified in damaged blocks of 4 KiB, rows of 100 bytes');
  const widths = [8, 32, 128];
  const kinds = CHECKS.filter(({ rowsPerCheck }) => rowsPerCheck < 16);
  const each = Math.ceil(trials / (kinds.length * widths.length));
  let blocks = 0;
  for (const { name, ...checks } of kinds) {
    const samples = fullBlocks({ ...checks, codec: NO_CODEC });
    const shares: string[] = [];
    for (const width of widths) {
      const random = new SeededRandom(seed + width);
      const healed = newTally();
      const tally = newSalvageTally();
      for (let i = 0; i < each; i++) {
        const block = samples[i % samples.length];
        const damaged = burst(random, block.stored, width);
        // Whatever salvage is for, healing was tried first and must not have been mistaken.
        tryHeal(block, damaged, NO_CODEC, healed);
        trySalvage(block, damaged, NO_CODEC, tally);
      }
      wrong += tally.wrong + healed.wrong;
      blocks += tally.blocks;
      shares.push(`${width} bytes ${percent(tally.recovered, tally.rows)}, ${tally.wrong + healed.wrong} wrong`);
    }
    console.log(`  ${name.padEnd(20)} ${shares.join('; ')}`);
  }
  console.log(`  ${blocks} blocks`);
}

function percent(part: number, whole: number): string {
  return `${((100 * part) / whole).toFixed(part === whole ? 0 : 2)} %`;
}

/** The pass that names the candidates, alone and, for damage that cannot be healed, with all that follows. */
function search(): void {
  const bytes = 1 << 20;
  const passes: number[] = [];
  for (let i = 0; i < 9; i++) {
    const startedMs = performance.now();
    errorsAt(0x12345678 + i, 0, bytes, bytes);
    passes.push(performance.now() - startedMs);
  }
  const value = new Uint8Array(bytes);
  new SeededRandom(seed).fill(value);
  const row = { ...rows[0], value };
  const [block] = sampleBlocks({ tableType: 'compacted', rowsPerCheck: 1, codec: NO_CODEC }, [row]);
  const damaged = burst(new SeededRandom(seed), block.stored, 32);
  const givenUpMs = [READ_WORK_PER_MIB, REPAIR_WORK_PER_MIB].map((workPerMib) => {
    const how = { ...formOf(NO_CODEC), maxBytes: 4 * bytes, proof: block.proof, workPerMib };
    const startedMs = performance.now();
    if (healBlock(damaged, how) !== undefined) wrong++;
    wrong += salvageBlock(damaged.subarray(0, damaged.length - 4), how).length;
    return (performance.now() - startedMs).toFixed(0);
  });
  passes.sort((a, b) => a - b);
  console.log(
    `Search of 1 MiB: ${passes[4].toFixed(1)} ms (median of 9); one row of 1 MiB given up by a read after ${givenUpMs[0]} ms, by a repair after ${givenUpMs[1]} ms`,
  );
}
