/** Reports on trees from their notation (tree-notation.ts), for what renders them. */
import type { TreeReport } from '../../src/admin.ts';
import { tablesOf } from '../../src/format/manifest-types.ts';
import { type TableEnd, treeShapes, UNREAD_END } from '../../src/tools/tree-report.ts';
import { parseTrees } from './tree-notation.ts';

/** After the newest table was made. */
const REPORT_AFTER_MS = 2 * 3_600_000;

export interface NotedReportOptions {
  /** Whether the ends of tables were read. */
  tails?: boolean;
  /** Whether tables have seals. */
  sealed?: boolean;
}

/** Tables marked damaged (`!`) are missing where they have no rows (`{?}`), else damaged. */
export function treeReportOf(text: string, { tails = true, sealed = true }: NotedReportOptions = {}): TreeReport {
  const { manifest, rows, damaged } = parseTrees(text);
  const ends = new Map(
    tablesOf(manifest).map(({ id, info }): [typeof id, TableEnd] => {
      const counts = rows.get(id);
      const isDamaged = damaged.has(id);
      if (isDamaged && counts === undefined) return [id, { ...UNREAD_END, state: 'missing' }];
      return [
        id,
        {
          state: isDamaged ? 'damaged' : 'ok',
          bytes: info.indexOffset + info.indexLength,
          seal: sealed ? 'ok' : 'none',
          stats: counts && { ...counts, rawKeyBytes: counts.rowBytes, rawValueBytes: 0 },
          lineage: undefined,
        },
      ];
    }),
  );
  const shapes = treeShapes(manifest, tails ? ends : new Map());
  const nowMs = (shapes.totals.newestMs ?? 0) + REPORT_AFTER_MS;
  return {
    schemaVersion: 1,
    manifestId: 1234n,
    writtenAtMs: nowMs - 90_000,
    nowMs,
    ...shapes,
    findings: [],
    requests: 12,
    tookMs: 34,
  };
}
