/**
 * What a handle counts while it works: plain numbers on objects that its parts have anyway, raised where the thing happens and read by
 * `metrics()` alone. Nothing is allocated for a call that is counted, and no time is read for a row.
 */
import type { Clock } from '../common/clock.ts';
import type { CollectorEvent } from '../common/collector-role.ts';
import type { CompactorEvent } from '../common/compactor-role.ts';
import type { DropRegistry } from '../common/drop-watch.ts';
import type { DbEvent } from '../common/events.ts';
import { histogramOf } from '../common/metrics.ts';
import type { MergeOperator } from '../lsm/rows/merge-operator.ts';

/** Of the reads of a handle and its snapshots. */
export class ReadCounts {
  /** Keys that were looked up. */
  gets = 0;
  scans = 0;
  /** Given to the merge operator. */
  operands = 0;
  #openScans = 0;
  readonly #drops: DropRegistry | undefined;
  readonly #scanDropped: () => void;

  /** @param onScanDropped a scan was dropped that had rows left */
  constructor(drops?: DropRegistry, onScanDropped?: () => void) {
    this.#drops = drops;
    this.#scanDropped = () => {
      this.#openScans--;
      onScanDropped?.();
    };
  }

  /** Scans that have rows left. */
  get openScans(): number {
    return this.#openScans;
  }

  /** A scan has rows left after its first buffer. Costs as much as some rows, so shorter scans do not call it. */
  scanBegun(scan: object): void {
    this.#openScans++;
    this.#drops?.register(scan, this.#scanDropped, scan);
  }

  /** It has none any more, or was closed. */
  scanEnded(scan: object): void {
    this.#openScans--;
    this.#drops?.unregister(scan);
  }
}

/** Of the write path. */
export class WriteCounts {
  rows = 0;
  writes = 0;
  /** Of keys and values. */
  bytes = 0;
  queued = 0;
  readonly queueTimes = histogramOf('shaledb_db_backpressure_duration_seconds');
  readonly stalls: Stalls;
  freezes = 0;
  walFlushCalls = 0;
  walObjects = 0;
  walBytes = 0;
  readonly walTimes = histogramOf('shaledb_wal_flush_duration_seconds');
  tableFlushCalls = 0;
  tableUploads = 0;
  tableBytes = 0;
  tablesNamed = 0;
  memtablesFlushed = 0;
  readonly tableTimes = histogramOf('shaledb_memtable_flush_duration_seconds');
  readonly #clock: Pick<Clock, 'monotonicMs'>;

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#clock = clock;
    this.stalls = new Stalls(clock);
  }

  /** For `secondsSince`. */
  get nowMs(): number {
    return this.#clock.monotonicMs();
  }

  secondsSince(startMs: number): number {
    return (this.#clock.monotonicMs() - startMs) / 1000;
  }
}

/** Pauses: how many, and how long in all. */
export class Stalls {
  count = 0;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  #sinceMs: number | undefined;
  #doneMs = 0;

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#clock = clock;
  }

  /** It pauses, or goes on pausing. */
  begin(): void {
    if (this.#sinceMs !== undefined) return;
    this.count++;
    this.#sinceMs = this.#clock.monotonicMs();
  }

  end(): void {
    if (this.#sinceMs === undefined) return;
    this.#doneMs += this.#clock.monotonicMs() - this.#sinceMs;
    this.#sinceMs = undefined;
  }

  /** The present one included. */
  get seconds(): number {
    const present = this.#sinceMs === undefined ? 0 : this.#clock.monotonicMs() - this.#sinceMs;
    return (this.#doneMs + present) / 1000;
  }
}

/** Of the roles beside a writer, as their events say it. */
export class UpkeepCounts {
  bytesCompacted = 0;
  tablesWritten = 0;
  rowsRead = 0;
  rowsWritten = 0;
  /** When the last job was committed, ms since the epoch. */
  lastCommitMs: number | undefined;
  readonly committedTimes = histogramOf('shaledb_compactor_job_duration_seconds');
  readonly endedTimes = histogramOf('shaledb_compactor_job_duration_seconds');
  readonly roundTimes = histogramOf('shaledb_gc_round_duration_seconds');
  readonly #clock: Pick<Clock, 'nowMs'>;

  constructor(clock: Pick<Clock, 'nowMs'>) {
    this.#clock = clock;
  }

  note(event: DbEvent): void {
    if (event.type === 'compactor') this.#noteCompactor(event.event);
    else if (event.type === 'collector') this.#noteCollector(event.event);
  }

  #noteCompactor(event: CompactorEvent): void {
    if (event.type === 'committed') {
      const { job, tables, rowsIn, rowsOut, bytesIn } = event.outcome;
      const now = this.#clock.nowMs();
      this.lastCommitMs = now;
      this.committedTimes.observe((now - job.startedAtMs) / 1000);
      this.bytesCompacted += bytesIn;
      this.tablesWritten += tables;
      this.rowsRead += rowsIn;
      this.rowsWritten += rowsOut;
    } else if (event.type === 'ended') {
      this.endedTimes.observe((this.#clock.nowMs() - event.job.startedAtMs) / 1000);
    }
  }

  #noteCollector(event: CollectorEvent): void {
    if (event.type === 'round') this.roundTimes.observe(event.round.tookMs / 1000);
  }
}

/** `operator`, whose operands are counted. */
export function countedOperator(operator: MergeOperator | undefined, counts: ReadCounts): MergeOperator | undefined {
  if (operator === undefined) return undefined;
  return {
    merge: (key, existing, operand) => {
      counts.operands++;
      return operator.merge(key, existing, operand);
    },
    ...(operator.mergeBatch !== undefined && {
      mergeBatch: (key, existing, operands) => {
        counts.operands += operands.length;
        return operator.mergeBatch?.(key, existing, operands) as Uint8Array;
      },
    }),
  };
}
