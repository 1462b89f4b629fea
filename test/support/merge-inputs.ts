/** Tables for merges, cut into stretches, and a driver that feeds a merge step and keeps what comes out of it. */
import { concatBytes } from '../../src/common/bytes.ts';
import type { Ulid } from '../../src/common/ulid.ts';
import type { CompactionPlan, OutputForm, PlannedSource } from '../../src/compaction/compaction-plan.ts';
import {
  type MergedTable,
  type MergeParts,
  type MergeSettings,
  MergeStep,
  type StepResult,
} from '../../src/compaction/merge-step.ts';
import type { BadBlock, BlockStretch } from '../../src/compaction/stretch-cursor.ts';
import { decodeBlock } from '../../src/format/block.ts';
import { BlockCursor } from '../../src/format/block-cursor.ts';
import { type BlockCodec, NO_CODEC } from '../../src/format/codecs.ts';
import { unframeUnit, verifyCrc } from '../../src/format/framing.ts';
import { decodeIndex } from '../../src/format/index-block.ts';
import { decodeInfo } from '../../src/format/info-block.ts';
import type { BytesRange } from '../../src/format/manifest-types.ts';
import { TableBuilder, type TableBuilderOptions } from '../../src/format/table-builder.ts';
import type { Codec, FormatVersion, TableInfo } from '../../src/format/table-info.ts';
import { blockEnd, decodeFooter, FOOTER_BYTES } from '../../src/format/table-layout.ts';
import { type ModelRow, type ModelVersion, rowOfModel } from './version-model.ts';

const LIMIT = 1 << 28;

/** A table as it is stored. */
export interface InputTable {
  bytes: Uint8Array;
  info: TableInfo;
  codec: BlockCodec;
  formatVersion: FormatVersion;
  visibleRange: BytesRange | undefined;
}

export function tableOf(rows: readonly ModelRow[], options: Partial<TableBuilderOptions> = {}): InputTable {
  const codec = options.codec ?? NO_CODEC;
  const builder = new TableBuilder({
    tableType: 'compacted',
    blockBytes: 128,
    codec,
    rowsPerCheck: 0,
    capacityBytes: 0,
    ...options,
  });
  for (const { key, value, seq, flags, createTs, expireTs } of rows) {
    builder.add(key, 0, key.length, value, 0, value.length, seq, flags, createTs, expireTs);
  }
  const { bytes, info } = builder.finish();
  return { bytes, info, codec, formatVersion: 2, visibleRange: undefined };
}

export function tableOfModel(
  versions: readonly ModelVersion[],
  options: Partial<TableBuilderOptions> = {},
): InputTable {
  return tableOf(versions.map(rowOfModel), options);
}

/** Where the blocks of a table are. */
export function placesOf({ bytes, info, codec }: InputTable): { start: number; end: number }[] {
  const stored = bytes.subarray(info.indexOffset, info.indexOffset + info.indexLength);
  const index = decodeIndex(unframeUnit(stored, codec, 'index', LIMIT));
  return Array.from({ length: index.blockCount }, (_, i) => ({
    start: index.offset(i),
    end: blockEnd(info, index, i),
  }));
}

/** The blocks of a table in stretches of so many, each in memory of its own with something before and after them. */
export function stretchesOf(table: InputTable, number: number, blocksPerStretch: () => number): BlockStretch[] {
  const places = placesOf(table);
  const stretches: BlockStretch[] = [];
  for (let i = 0; i < places.length; ) {
    const count = Math.min(places.length - i, Math.max(1, blocksPerStretch()));
    const own = places.slice(i, i + count);
    const base = own[0].start;
    const bytes = concatBytes(Uint8Array.of(1, 2, 3), table.bytes.slice(base, own[count - 1].end), Uint8Array.of(4));
    const at = own.flatMap(({ start, end }) => [start - base + 3, end - base + 3]);
    stretches.push({ table: number, block: i, bytes, places: Uint32Array.from(at) });
    i += count;
  }
  return stretches;
}

/** All rows of a table, read through its footer. */
export function rowsOfTable(bytes: Uint8Array, codec: BlockCodec = NO_CODEC): ModelRow[] {
  const { infoOffset, formatVersion } = decodeFooter(bytes.subarray(bytes.length - FOOTER_BYTES), bytes.length);
  const info = decodeInfo(verifyCrc(bytes.subarray(infoOffset, bytes.length - FOOTER_BYTES), 'info'));
  const rows: ModelRow[] = [];
  for (const { start, end } of placesOf({ bytes, info, codec, formatVersion, visibleRange: undefined })) {
    const cursor = new BlockCursor();
    const block = decodeBlock(unframeUnit(bytes.subarray(start, end), codec, 'block', LIMIT), formatVersion);
    cursor.attach(block);
    while (cursor.next()) {
      const { key, keyLength, valueStart, valueLength, seq, flags, createTs, expireTs } = cursor;
      const value = block.bytes.slice(valueStart, valueStart + valueLength);
      rows.push({ key: key.slice(0, keyLength), value, seq, flags, createTs, expireTs });
    }
  }
  return rows;
}

export const OUTPUT: OutputForm = {
  blockBytes: 128,
  codec: 'none',
  filter: { form: 'composite', bitsPerKey: 10, minKeys: 20 },
  maxSstBytes: 1 << 20,
};

const name = (n: number) => `01M7W60ETH9EVAJJ${String(n).padStart(10, '0')}` as Ulid;

/** The plan of a job over these sources, each of them a run, newest first. */
export function planOver(
  sources: readonly (readonly InputTable[])[],
  changes: Partial<CompactionPlan> = {},
): CompactionPlan {
  let id = 100;
  return {
    jobId: name(1),
    manifestId: 7,
    segment: undefined,
    sources: sources.map(
      (tables, i): PlannedSource => ({
        level: 'run',
        runId: 100 - i,
        views: tables.map(({ info, formatVersion, visibleRange }) => {
          const tableId = name(id++);
          return {
            view: { viewId: tableId, table: { id: tableId, info, formatVersion }, visibleRange },
            owner: undefined,
          };
        }),
      }),
    ),
    destination: 3,
    barrier: Number.MAX_SAFE_INTEGER,
    tickMs: undefined,
    isBottom: false,
    keptWhole: [],
    keptTombstones: [],
    output: OUTPUT,
    ...changes,
  };
}

export interface Merged {
  tables: { bytes: Uint8Array; table: MergedTable }[];
  done: Extract<StepResult, { kind: 'done' }>;
  largestPart: number;
  needs: number;
}

export interface DriveOptions {
  settings?: Partial<MergeSettings>;
  parts?: Partial<MergeParts>;
  codecs?: readonly BlockCodec[];
  rowsPerStep?: () => number;
  blocksPerStretch?: () => number;
  /** What to feed in place of a bad block; undefined: the merge ends with it. */
  heal?(bad: BadBlock): Uint8Array | undefined;
  /** Changes stretches before they are fed. */
  spoil?(stretch: BlockStretch, input: number): void;
}

export class BadBlockError extends Error {
  readonly bad: BadBlock;
  constructor(bad: BadBlock) {
    super(`bad block: ${JSON.stringify(bad)}`);
    this.bad = bad;
  }
}

/** Runs a merge to its end. */
export function merge(
  plan: CompactionPlan,
  sources: readonly (readonly InputTable[])[],
  options: DriveOptions = {},
): Merged {
  const { rowsPerStep = () => 100, blocksPerStretch = () => 3 } = options;
  const codecs = new Map<Codec, BlockCodec>([
    ['none', NO_CODEC],
    ...(options.codecs ?? []).map((c) => [c.name, c] as const),
  ]);
  const step = new MergeStep(
    { plan, rowsExpected: 0, rowBytes: 20, partBytes: 300, resume: undefined, ...options.settings },
    { codecs, operator: undefined, filter: undefined, makeSeal: () => new Uint8Array(0), ...options.parts },
  );
  const queues = sources.map((tables) => tables.flatMap((table, i) => stretchesOf(table, i, blocksPerStretch)));
  const result: Omit<Merged, 'done'> = { tables: [], largestPart: 0, needs: 0 };
  let parts: Uint8Array[] = [];
  for (;;) {
    const answer = step.step(rowsPerStep());
    switch (answer.kind) {
      case 'more':
        break;
      case 'need': {
        result.needs++;
        const next = queues[answer.input].shift();
        if (next === undefined) step.end(answer.input);
        else {
          options.spoil?.(next, answer.input);
          step.feed(answer.input, next);
        }
        break;
      }
      case 'bad': {
        const { input, table, block } = answer.block;
        const payload = options.heal?.(answer.block);
        if (payload === undefined) throw new BadBlockError(answer.block);
        step.heal(input, { table, block, payload, formatVersion: sources[input][table].formatVersion });
        break;
      }
      case 'part':
        result.largestPart = Math.max(result.largestPart, answer.bytes.length);
        // As another thread would have it.
        parts.push(structuredClone(answer.bytes));
        break;
      case 'table':
        result.tables.push({ bytes: concatBytes(...parts), table: structuredClone(answer.table) });
        parts = [];
        break;
      case 'done':
        if (parts.length > 0) throw new Error('parts without a table');
        return { ...result, done: answer };
    }
  }
}
