// Asks SlateDB 0.17 again which jobs it chooses on the trees of test/unit/compaction/slatedb-picks.json, and writes its answers there:
//
//   node scripts/run-typescript.mjs scripts/record-picks.mjs [--new] [--random COUNT --seed SEED]
//
// The trees stay as they are; `--new` asks only about those without an answer. A new one is added by hand, or drawn from a seed. Takes
// a second for each. Then: npx biome format --write test/unit/compaction
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { SeededRandom } from '../src/common/random.ts';
import { liveSlateDb } from '../test/support/live-slatedb.ts';
import { randomCase } from '../test/support/random-trees.ts';
import { askSlateDb } from '../test/support/slatedb-picks.ts';

const FILE = fileURLToPath(new URL('../test/unit/compaction/slatedb-picks.json', import.meta.url));
const DRIVER = fileURLToPath(new URL('../test/support/slatedb_017_driver.py', import.meta.url));
const { values } = parseArgs({
  options: { new: { type: 'boolean' }, random: { type: 'string' }, seed: { type: 'string' } },
});
const python = process.env.SHALEDB_SLATEDB_PYTHON || join('.cache', 'slatedb-0.17.0', 'bin', 'python');
const cases = JSON.parse(readFileSync(FILE, 'utf8'));
for (let i = 0, seed = Number(values.seed ?? 1); i < Number(values.random ?? 0); i++, seed++) {
  cases.push({ about: `seed ${seed}`, ...randomCase(new SeededRandom(seed), { withOddities: false }) });
}
for (const asked of cases) {
  if (values.new && asked.picks !== undefined) continue;
  const directory = mkdtempSync(join(tmpdir(), 'shaledb-picks-'));
  const slatedb = liveSlateDb({ version: '0.17.0', command: python, args: [DRIVER] });
  asked.picks = await askSlateDb(slatedb, directory, asked);
  rmSync(directory, { recursive: true });
  console.log(`${asked.about}: ${asked.picks.join(', ') || 'nothing'}`);
}
writeFileSync(FILE, `${JSON.stringify(cases, undefined, 2)}\n`);
