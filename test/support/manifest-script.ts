/**
 * Manifests as text, for tests that are scripts: parts with a semicolon between them, in any order; what is not named is 0 or absent.
 *
 *   l0 C v:B A[c,m)     views of level 0, newest first: the id of a view only where it is not that of its table; a visible range
 *   run 3 D E           a sorted run and its views; the runs stand newest first
 *   marker A            the newest table that compaction has consumed
 *   seg p l0 F          the same of the segment with prefix `p`: `l0`, `run` or `marker`
 *   replay 5            replay point; `seen` last WAL id, `seq` last in tables, `tick`, `snap` least of snapshots
 *   writer 3            writer epoch; `compactor`
 *   parent q F G        tables of the database `q`, by checkpoint `s`; `q@f`: the final checkpoint `f`
 *   cp c 4 until 900    checkpoint `c` on manifest 4, with its expiry in seconds if it has one
 *   loose Z             a table that no view names
 *
 * Tables are named by a few letters; each holds the keys from its name in lower case to that with `z` after it. `A_70` is a table whose
 * id was drawn 70 s after `START_MS`, at which those without a number were.
 */
import type { Ulid } from '../../src/common/ulid.ts';
import {
  type Bound,
  type Checkpoint,
  type Manifest,
  NO_TICK,
  type Segment,
  type TableRef,
  type TableView,
  type Tree,
} from '../../src/format/manifest-types.ts';
import { emptyManifest } from '../../src/lsm/manifest/manifest-edits.ts';

const TIME = '01J0000000';
const RANDOM_DIGITS = 16;
const ULID_DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const timeOf = (digits: string) => [...digits].reduce((ms, digit) => ms * 32 + ULID_DIGITS.indexOf(digit), 0);
/** Time in the ids of tables, ms since the epoch. */
export const START_MS = timeOf(TIME);
const utf8 = (text: string) => new TextEncoder().encode(text);
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

export function tableId(name: string): Ulid {
  const [letters, seconds] = name.split('_');
  return `${timeDigits(Number(seconds ?? 0))}${letters!.padStart(RANDOM_DIGITS, '0')}` as Ulid;
}

function timeDigits(seconds: number): string {
  let digits = '';
  for (let ms = START_MS + seconds * 1000; digits.length < TIME.length; ms = Math.floor(ms / 32)) {
    digits = ULID_DIGITS[ms % 32] + digits;
  }
  return digits;
}

/** The name again; `*` for an id that was drawn. */
export function tableName(id: Ulid): string {
  const seconds = (timeOf(id.slice(0, TIME.length)) - START_MS) / 1000;
  const name = id.slice(TIME.length).replace(/^0+/, '');
  if (!Number.isInteger(seconds) || name.length >= RANDOM_DIGITS / 2) return '*';
  return seconds === 0 ? name : `${name}_${seconds}`;
}

export function tableRef(name: string): TableRef {
  const firstEntry = utf8(name.toLowerCase());
  return {
    id: tableId(name),
    formatVersion: 2,
    info: {
      firstEntry,
      lastEntry: utf8(`${name.toLowerCase()}z`),
      indexOffset: 0,
      indexLength: 0,
      filterOffset: 0,
      filterLength: 0,
      codec: 'none',
      tableType: 'compacted',
      statsOffset: 0,
      statsLength: 0,
      filterForm: 'legacy',
    },
  };
}

export function parseView(word: string): TableView {
  const [, viewName, name, start, end] = /^(?:(\w+):)?(\w+)(?:\[(\w*),(\w*)\))?$/.exec(word)!;
  const bound = (key: string, kind: 'included' | 'excluded'): Bound =>
    key === '' ? { kind: 'unbounded' } : { kind, key: utf8(key) };
  const visibleRange =
    start === undefined ? undefined : { start: bound(start, 'included'), end: bound(end, 'excluded') };
  return { viewId: tableId(viewName ?? name), table: tableRef(name), visibleRange };
}

function viewText({ viewId, table, visibleRange }: TableView): string {
  const bound = (b: Bound) => (b.kind === 'unbounded' ? '' : text(b.key));
  const range = visibleRange === undefined ? '' : `[${bound(visibleRange.start)},${bound(visibleRange.end)})`;
  const filter = table.info.filterForm === 'legacy' ? '' : `!${table.info.filterForm}`;
  const own = viewId === table.id ? '' : `${tableName(viewId)}:`;
  return `${own}${tableName(table.id)}${range}${filter}`;
}

type Scalar =
  | 'replayAfterWalId'
  | 'walIdLastSeen'
  | 'lastL0Seq'
  | 'recentSnapshotMinSeq'
  | 'writerEpoch'
  | 'compactorEpoch';
const SCALARS: readonly [word: string, field: Scalar][] = [
  ['replay', 'replayAfterWalId'],
  ['seen', 'walIdLastSeen'],
  ['seq', 'lastL0Seq'],
  ['snap', 'recentSnapshotMinSeq'],
  ['writer', 'writerEpoch'],
  ['compactor', 'compactorEpoch'],
];

export function parseManifest(script: string): Manifest {
  const m: Manifest = { ...emptyManifest(2, false), sequenceTracker: undefined };
  for (const part of script.split(';')) {
    const [word, ...rest] = part.trim().split(/ +/);
    const scalar = SCALARS.find(([name]) => name === word);
    if (scalar !== undefined) m[scalar[1]] = Number(rest[0]);
    else if (word === 'tick') m.lastL0ClockTick = BigInt(rest[0]!);
    else if (word === 'seg') parseTreePart(segmentOf(m, rest[0]!), rest[1]!, rest.slice(2));
    else if (word === 'loose') m.unviewedTables = rest.map(tableRef);
    else if (word === 'cp') m.checkpoints.push(parseCheckpoint(rest));
    else if (word === 'parent') {
      const [place, ...tables] = rest;
      const [path, finalCheckpointId] = place!.split('@');
      m.externalDbs.push({ path: path!, sourceCheckpointId: 's', finalCheckpointId, tableIds: tables.map(tableId) });
    } else if (word !== '' && word !== 'nothing') parseTreePart(m, word!, rest);
  }
  return m;
}

function segmentOf(m: Manifest, prefix: string): Segment {
  const segments = (m.segments ??= []);
  let segment = segments.find((s) => text(s.prefix) === prefix);
  if (segment === undefined)
    segments.push((segment = { prefix: utf8(prefix), l0: [], runs: [], lastCompacted: undefined }));
  return segment;
}

function parseTreePart(tree: Tree, word: string, rest: readonly string[]): void {
  if (word === 'l0') tree.l0 = rest.map(parseView);
  else if (word === 'run') tree.runs.push({ id: Number(rest[0]), views: rest.slice(1).map(parseView) });
  else if (word === 'marker') tree.lastCompacted = tableId(rest[0]!);
  else throw new Error(`no part of a manifest: ${word}`);
}

function parseCheckpoint([id, manifestId, , expiry]: readonly string[]): Checkpoint {
  return {
    id: id!,
    manifestId: Number(manifestId),
    expireTimeS: Number(expiry ?? 0),
    createTimeS: 0,
    writerEpoch: undefined,
    name: undefined,
  };
}

export function manifestText(m: Manifest): string {
  const parts = treeParts(m, '');
  for (const segment of m.segments ?? []) parts.push(...treeParts(segment, `seg ${text(segment.prefix)} `));
  for (const [word, field] of SCALARS) if (m[field] !== 0) parts.push(`${word} ${m[field]}`);
  if (m.lastL0ClockTick !== NO_TICK) parts.push(`tick ${m.lastL0ClockTick}`);
  for (const { path, tableIds } of m.externalDbs) parts.push(`parent ${[path, ...tableIds.map(tableName)].join(' ')}`);
  for (const c of m.checkpoints) {
    parts.push(`cp ${c.id} ${c.manifestId}${c.expireTimeS === 0 ? '' : ` until ${c.expireTimeS}`}`);
  }
  if (m.unviewedTables.length > 0) parts.push(`loose ${m.unviewedTables.map(({ id }) => tableName(id)).join(' ')}`);
  return parts.length === 0 ? 'nothing' : parts.join('; ');
}

function treeParts({ l0, runs, lastCompacted }: Tree, prefix: string): string[] {
  const parts = l0.length === 0 ? [] : [`l0 ${l0.map(viewText).join(' ')}`];
  for (const run of runs) parts.push(['run', run.id, ...run.views.map(viewText)].join(' '));
  if (lastCompacted !== undefined) parts.push(`marker ${tableName(lastCompacted)}`);
  return parts.map((part) => `${prefix}${part}`);
}
