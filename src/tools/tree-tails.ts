/**
 * What the ends of the tables of a manifest say: rows, seal, whether they are there and intact. One GET for each table, of what is after
 * its rows.
 *
 * 1. Whatever is wrong with one table hides nothing about the others: it becomes the state of that table, and a finding.
 */
import { assertThat, present } from '../common/assert.ts';
import { mapLimit } from '../common/async.ts';
import type { Finding } from '../common/finding.ts';
import type { Ulid } from '../common/ulid.ts';
import { type Manifest, type TableRef, tablesOf } from '../format/manifest-types.ts';
import { ownersOf } from '../lsm/manifest/live-set.ts';
import { type KnownTable, missingTable, type TableAnatomy } from '../lsm/table/table-anatomy.ts';
import { absentParentFinding, absentParents, ofParent, tablePlace } from '../lsm/tree/parents.ts';
import type { CheckProgress } from './sst-check.ts';
import { checkIfReadable } from './table-check.ts';
import type { ToolTarget } from './target.ts';
import { type TableEnd, UNREAD_END } from './tree-report.ts';

const READS_AT_ONCE = 16;

export interface TableEnds {
  byTable: ReadonlyMap<Ulid, TableEnd>;
  findings: Finding[];
  /** Whether the store lacks one of the tables: another process may have replaced it since the manifest was read. */
  lacksAny: boolean;
}

/** Reads the ends of all tables that a manifest shows, each once; one LIST for each parent besides. */
export async function readTableEnds(
  target: ToolTarget,
  manifest: Manifest,
  onProgress: (progress: CheckProgress) => void,
): Promise<TableEnds> {
  const { stores } = target;
  const owners = ownersOf(manifest);
  const tables = [...new Map(tablesOf(manifest).map((table) => [table.id, table])).values()];
  const used = new Map<string, number>();
  for (const { id } of tables) {
    const owner = owners.get(id);
    if (owner !== undefined) used.set(owner, (used.get(owner) ?? 0) + 1);
  }
  const absent = new Map(
    (await absentParents(stores.whole, used)).map((parent) => [
      parent.path,
      absentParentFinding(stores, parent, 'check'),
    ]),
  );
  const before = stores.counts().bytesIn;
  let done = 0;
  const report = () =>
    onProgress({ part: 'tables', done, of: tables.length, bytesRead: stores.counts().bytesIn - before });
  report();
  const ends = await mapLimit(tables, READS_AT_ONCE, async (table) => {
    const gone = absent.get(owners.get(table.id) ?? '');
    const read = gone === undefined ? await readEnd(target, table, owners.get(table.id)) : ofAbsentParent(gone);
    done++;
    report();
    return read;
  });
  assertThat(ends.length === tables.length, 'every table has a state (tree-tails 1)');
  return {
    byTable: new Map(tables.map(({ id }, i) => [id, present(ends[i], 'each table was read').end])),
    findings: [...absent.values(), ...ends.flatMap(({ findings }) => findings)],
    lacksAny: ends.some(({ end }) => end.state === 'missing'),
  };
}

interface ReadEnd {
  end: TableEnd;
  findings: readonly Finding[];
}

/** The finding about the parent says all that there is to say about its tables. */
function ofAbsentParent({ severity }: Finding): ReadEnd {
  return { end: { ...UNREAD_END, state: severity === 'unknown' ? 'unknown' : 'missing' }, findings: [] };
}

async function readEnd(target: ToolTarget, ref: TableRef, parent: string | undefined): Promise<ReadEnd> {
  const { stores, signal } = target;
  const { store, path } = tablePlace(stores, parent, ref.id);
  const known: KnownTable = { id: ref.id, path, info: ref.info, formatVersion: ref.formatVersion };
  const pace = () => Promise.resolve();
  const result = await checkIfReadable({ store, known, level: 'tails', limits: {}, signal, pace });
  const located = (findings: readonly Finding[]) =>
    parent === undefined ? findings : findings.map((finding) => ofParent(finding, stores.whole, parent));
  if (result === undefined) {
    return { end: { ...UNREAD_END, state: 'missing' }, findings: located([missingTable(known, 'check')]) };
  }
  if ('unread' in result) return { end: { ...UNREAD_END, state: 'unknown' }, findings: located([result.unread]) };
  return { end: endOf(result.tail, result.findings), findings: located(result.findings) };
}

function endOf(tail: TableAnatomy, findings: readonly Finding[]): TableEnd {
  const isOf = (...severities: Finding['severity'][]) => findings.some((f) => severities.includes(f.severity));
  const isFound = tail.sealPlace !== undefined;
  return {
    state: isOf('error', 'warning') ? 'damaged' : isOf('unknown') ? 'unknown' : 'ok',
    bytes: tail.size,
    seal: tail.seal !== undefined ? 'ok' : isFound ? 'bad' : tail.infoOffset === undefined ? 'unread' : 'none',
    stats: tail.isForeign ? undefined : tail.stats,
    lineage: tail.isForeign ? undefined : tail.seal?.lineage,
  };
}
