/**
 * Objects to be damaged: tables and WAL objects built from seeded rows, cut into blocks with what their seal knows.
 */
import { nextInt, SeededRandom } from '../../src/common/random.ts';
import { type BlockProof, blockProof } from '../../src/format/block-healing.ts';
import { placesOfLengths } from '../../src/format/block-places.ts';
import type { BlockCodec } from '../../src/format/codecs.ts';
import type { RowsPerCheck } from '../../src/format/row-checks.ts';
import { FLAG_CREATE } from '../../src/format/row-flags.ts';
import { TableBuilder } from '../../src/format/table-builder.ts';
import type { TableType } from '../../src/format/table-info.ts';
import { dataEnd } from '../../src/format/table-layout.ts';
import { type SampleRow, utf8 } from '../unit/format/block-samples.ts';

export interface SampleBlock {
  stored: Uint8Array;
  /** Zeros that follow it in an aligned table. */
  paddingBytes: number;
  proof: BlockProof;
  rows: SampleRow[];
}

export interface SampleForm {
  tableType: TableType;
  codec: BlockCodec;
  rowsPerCheck: RowsPerCheck;
  blockBytes?: number;
  isAligned?: boolean;
}

/** All blocks of one object with these rows. */
export function sampleBlocks(form: SampleForm, rows: readonly SampleRow[]): SampleBlock[] {
  const { blockBytes = 4096, ...rest } = form;
  const builder = new TableBuilder({ ...rest, blockBytes, capacityBytes: 1 << 16 });
  for (const { key, value, seq, flags, createTs, expireTs } of rows) {
    builder.add(key, 0, key.length, value, 0, value.length, seq, flags, createTs, expireTs);
  }
  const { bytes, info, facts } = builder.finish();
  const places = placesOfLengths(facts.rows, dataEnd(info))!;
  let row = 0;
  return places.map(({ start, end, roomEnd }, i) => {
    const proof = blockProof(facts.rows, i)!;
    const from = row;
    row += proof.rowCount;
    return { stored: bytes.slice(start, end), paddingBytes: roomEnd - end, proof, rows: rows.slice(from, row) };
  });
}

/** Rows of about 100 stored bytes: keys of 16 bytes with long common prefixes, values half text, half noise. */
export function plainRows(seed: number, count: number, valueBytes = 74): SampleRow[] {
  const random = new SeededRandom(seed);
  const text = utf8('the quick brown fox jumps over the lazy dog and then goes home again; ');
  return Array.from({ length: count }, (_, i) => {
    const value = new Uint8Array(valueBytes);
    random.fill(value);
    const half = valueBytes >>> 1;
    for (let k = 0; k < half; k++) value[k] = text[(i + k) % text.length];
    return {
      key: utf8(`user${String(1000 + i * 3 + nextInt(random, 3)).padStart(12, '0')}`),
      value,
      seq: 1_000_000 + i,
      flags: FLAG_CREATE,
      createTs: 1_790_000_000_000 + i,
      expireTs: Number.NEGATIVE_INFINITY,
    };
  });
}
