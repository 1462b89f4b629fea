/**
 * The judge: what simulated crashes and faults leave in the store is laid into a directory and opened by live SlateDB 0.12.1,
 * 0.17.0 and 0.18.0. What they read must be what the simulator's model says.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { Compatibility } from '../../src/db/open-options.ts';
import { makeScript, type Script } from '../sim/script.ts';
import { SingleRun } from '../sim/single.ts';
import { describeWithSlateDb017, describeWithSlateDb018 } from '../support/environment.ts';
import type { LiveSlateDb } from '../support/live-slatedb.ts';
import { slateDb012 } from '../support/slatedb-012.ts';
import { slateDb017 } from '../support/slatedb-017.ts';
import { slateDb018 } from '../support/slatedb-018.ts';

const SAMPLE = 12;
const PATH = 'db';
const utf8 = new TextDecoder();

/** The script of a seed without times to live: SlateDB judges those by its own clock. */
function judgedScript(seed: number, compatibility: Compatibility): Script {
  const script = makeScript(seed);
  for (const step of script.steps) if (step.type === 'write') for (const op of step.ops) delete op.ttlMs;
  // Its files are handed over as one directory.
  return {
    ...script,
    store: { ...script.store, hasWalStore: false },
    options: { ...script.options, compatibility, walEnabled: true },
  };
}

/**
 * Under `auto` a boundary file shows a collector of 0.14 or later, and fences become empty objects, which 0.12.1 does not read; also where our
 * collector has written it. `slatedb-0.12` is for databases that 0.12.1 has to open.
 */
function hasNewerFences(run: SingleRun): boolean {
  return run.store.paths('wal/').some((path) => run.store.objects.get(path)?.bytes.length === 0);
}

/** Runs of consecutive seeds that leave some rows. */
async function finishedRuns(
  compatibility: Compatibility,
  readsNewerFences: boolean,
): Promise<{ seed: number; run: SingleRun }[]> {
  const runs: { seed: number; run: SingleRun }[] = [];
  for (let seed = 900_001; runs.length < SAMPLE; seed++) {
    const run = new SingleRun(judgedScript(seed, compatibility));
    const { failure, cycles } = await run.run();
    expect(failure, `seed ${seed}`).toBeUndefined();
    const isReadable = readsNewerFences || compatibility !== 'auto' || !hasNewerFences(run);
    if (cycles >= 2 && run.model.rows().size >= 3 && isReadable) runs.push({ seed, run });
  }
  return runs;
}

const directories: string[] = [];
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

function layOut(run: SingleRun): string {
  const directory = mkdtempSync(join(tmpdir(), 'shaledb-judge-'));
  directories.push(directory);
  for (const [path, { bytes }] of run.store.objects) {
    const file = join(directory, PATH, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, bytes);
  }
  return directory;
}

function judgedBy(makeSlate: () => LiveSlateDb, compatibilities: Compatibility[]): void {
  it.each(compatibilities)('with compatibility %s reads the rows of the model', async (compatibility) => {
    for (const { seed, run } of await finishedRuns(compatibility, makeSlate !== slateDb012)) {
      const slate = makeSlate();
      try {
        await slate.open({ directory: layOut(run), path: PATH }, { mergeOperator: 'concat' });
        const rows = (await slate.scan()).map(({ key, value }) => [utf8.decode(key), utf8.decode(value)]);
        expect(rows, `seed ${seed}`).toEqual([...run.model.rows()]);
      } finally {
        await slate.crash();
      }
    }
  });
}

describe('a database that survived simulated crashes', () => {
  describe('opened by SlateDB 0.12.1', () => judgedBy(slateDb012, ['auto', 'slatedb-0.12']));
  describeWithSlateDb017('opened by SlateDB 0.17.0', () => judgedBy(slateDb017, ['auto', 'slatedb-0.17']));
  describeWithSlateDb018('opened by SlateDB 0.18.0', () => judgedBy(slateDb018, ['auto', 'slatedb-0.17']));
});
