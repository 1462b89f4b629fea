/**
 * What a live set is made of, as text: manifests, newest first, with a slash between them (the notation: manifest-script.ts), and what else
 * is known, with commas between.
 *
 *   now 900            time of the store, s          keep 3         newest manifests that are kept
 *   job J running l0 C B run 1 to X parts Y     a job: its sources, outputs, and the outputs of its parts
 *   own J l0 C B run 1 parts Y                  a job that only the seal of the compactions file shows
 *   plan r 2 makes P reads wal/7 compacted/D    an open attempt 2 at the repair `r`
 *   output X 900 of A B                         table X was stored at 900 s; its seal names the inputs A and B
 *
 * Other words are passed over: the scripts that use this have more.
 */
import type { CompactionJob, JobStatus } from '../../src/format/compactions-codec.ts';
import type { EmbeddedTable } from '../../src/format/flat-tables.ts';
import type { RunningJob } from '../../src/format/jobs-record.ts';
import { manifestPath, tablePath, walPath } from '../../src/format/object-names.ts';
import type { Seal } from '../../src/format/seal.ts';
import type { LiveSetInput, OpenPlan, RecentOutput } from '../../src/lsm/manifest/live-set.ts';
import { parseManifest, tableId, tableRef } from './manifest-script.ts';

const embedded = (name: string): EmbeddedTable => ({ table: tableRef(name), visibleRange: undefined });

/** Words up to the next one that is a key, by key. */
function wordsByKey(words: readonly string[], keys: readonly string[]): Map<string, string[]> {
  const found = new Map<string, string[]>();
  let at: string[] = [];
  for (const word of words) {
    if (keys.includes(word)) found.set(word, (at = []));
    else at.push(word);
  }
  return found;
}

export function parseJob([id, status, ...words]: readonly string[]): CompactionJob {
  const parts = wordsByKey(words, ['l0', 'run', 'to', 'parts']);
  const outputs = parts.get('parts');
  return {
    id: tableId(id!),
    status: status as JobStatus,
    spec: {
      kind: 'tiered',
      deprecatedTables: undefined,
      l0ViewIds: parts.get('l0')?.map(tableId),
      runs: parts.get('run')?.map(Number),
      segment: undefined,
      destination: 0,
    },
    outputs: parts.get('to')?.map(embedded),
    worker: undefined,
    context: outputs && {
      retentionMinSeq: 0,
      subcompactions: [
        {
          range: { start: { kind: 'unbounded' }, end: { kind: 'unbounded' } },
          outputs: outputs.map(embedded),
          status: 'in-progress',
        },
      ],
    },
  };
}

function parseOwnJob([id, ...words]: readonly string[]): RunningJob {
  const parts = wordsByKey(words, ['l0', 'run', 'parts']);
  const outputs = (parts.get('parts') ?? []).map((name) => ({ tableId: tableId(name), bytes: 1 }));
  const range = { start: { kind: 'unbounded' }, end: { kind: 'unbounded' } } as const;
  return {
    id: tableId(id!),
    segment: new Uint8Array(0),
    destination: 0,
    isBottom: false,
    retentionMinSeq: 0,
    tickMs: 0,
    sourcesDigest: new Uint8Array(16),
    l0ViewIds: (parts.get('l0') ?? []).map(tableId),
    runs: (parts.get('run') ?? []).map(Number),
    parts: [{ range, status: 'in-progress', outputs }],
  };
}

/** Of the newest compactions file, which has no other record. */
const sealOf = (jobs: readonly RunningJob[]) => ({ kind: 'compactions', jobs: { jobs } }) as unknown as Seal;

export function parsePlan([repairId, number, ...words]: readonly string[]): OpenPlan {
  const parts = wordsByKey(words, ['makes', 'reads']);
  const path = (word: string) => {
    const [directory, name] = word.split('/') as [string, string];
    if (directory === 'wal') return walPath(Number(name));
    return directory === 'manifest' ? manifestPath(Number(name)) : tablePath(tableId(name));
  };
  return {
    repairId: repairId!,
    number: Number(number),
    tables: (parts.get('makes') ?? []).map(tableId),
    objects: (parts.get('reads') ?? []).map(path),
  };
}

export function parseLiveSetInput(manifests: string, facts: string): LiveSetInput {
  const read = manifests.split(' / ').map((text) => {
    const [, id, script] = /^\s*(\d+):\s*(.*?)\s*$/.exec(text)!;
    return [Number(id), parseManifest(script!)] as const;
  });
  const [[id, manifest]] = read as [(typeof read)[0]];
  const input: LiveSetInput = { newest: { id, manifest }, others: new Map(read.slice(1)) };
  const jobs: CompactionJob[] = [];
  const own: RunningJob[] = [];
  const plans: OpenPlan[] = [];
  const outputs: RecentOutput[] = [];
  for (const fact of facts.split(',')) {
    const [word, ...rest] = fact.trim().split(/ +/);
    if (word === 'now') input.nowS = Number(rest[0]);
    else if (word === 'keep') input.recent = Number(rest[0]);
    else if (word === 'job') jobs.push(parseJob(rest));
    else if (word === 'own') own.push(parseOwnJob(rest));
    else if (word === 'plan') plans.push(parsePlan(rest));
    else if (word === 'output') {
      const [id, storedS, , ...inputs] = rest;
      outputs.push({ id: tableId(id!), storedS: Number(storedS), inputs: inputs.map(tableId) });
    }
  }
  if (jobs.length > 0 || own.length > 0) {
    const compactions = { headerVersion: 2, compactorEpoch: 1, jobs, hasUnknownFields: false } as const;
    input.compactions = { id: 9, compactions, ...(own.length > 0 && { seal: sealOf(own) }) };
  }
  return { ...input, plans, outputs };
}
