/**
 * `npm run fuzz -- [--inputs N] [--decoder NAME] [--seed N] [--input N]`: many inputs for every decoder or for one, with progress
 * and rates. A finding ends the run of its decoder; it is printed with the command that repeats it, and kept as a file that
 * can be moved to test/fuzz/corpus. Exit code 1 if there was any.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { toHex } from '../../src/common/bytes.ts';
import { crc32 } from '../../src/format/checksum.ts';
import { FuzzFinding, makeInput, newCount, runInput } from './runner.ts';
import type { Target } from './target.ts';
import { fuzzTargets } from './targets.ts';

const FOUND = join('.cache', 'fuzz');
const PROGRESS_MS = 10_000;

const { values } = parseArgs({
  options: {
    inputs: { type: 'string', default: '100000' },
    decoder: { type: 'string', multiple: true },
    seed: { type: 'string', default: '1' },
    input: { type: 'string' },
  },
});
const seed = Number(values.seed);
const targets = (await fuzzTargets()).filter((t) => values.decoder?.includes(t.name) ?? true);
if (targets.length === 0) {
  console.error(`no such decoder; there are ${(await fuzzTargets()).map((t) => t.name).join(', ')}`);
  process.exit(1);
}
const first = Number(values.input ?? 0);
const inputs = values.input === undefined ? Number(values.inputs) : 1;
let failed = 0;
console.log('decoder            inputs   accepted    per s  slowest  refused because');
for (const target of targets) if (!(await runTarget(target))) failed++;
console.log(
  failed === 0 ? `${targets.length} decoders, no findings` : `${failed} of ${targets.length} decoders failed`,
);
process.exit(failed === 0 ? 0 : 1);

/** False after a finding. */
async function runTarget(target: Target): Promise<boolean> {
  const count = newCount();
  const startedMs = performance.now();
  let saidMs = startedMs;
  for (let n = first; n < first + inputs; n++) {
    const bytes = makeInput(target, seed, n);
    try {
      await runInput(target, bytes, count);
    } catch (error) {
      if (!(error instanceof FuzzFinding)) throw error;
      report(error, n);
      return false;
    }
    if (performance.now() - saidMs > PROGRESS_MS) {
      saidMs = performance.now();
      console.error(`  ${target.name}: ${n + 1} of ${inputs}`);
    }
  }
  const perS = Math.round((count.inputs * 1000) / (performance.now() - startedMs));
  const codes = [...count.codes].sort((a, b) => b[1] - a[1]).map(([code, times]) => `${code} ${times}`);
  console.log(
    `${target.name.padEnd(17)} ${String(count.inputs).padStart(7)} ${String(count.accepted).padStart(10)} ` +
      `${String(perS).padStart(8)} ${count.slowestMs.toFixed(1).padStart(5)} ms  ${codes.join(', ')}`,
  );
  return true;
}

function report(finding: FuzzFinding, n: number): void {
  mkdirSync(FOUND, { recursive: true });
  const file = join(FOUND, `${finding.target}-${crc32(finding.bytes).toString(16).padStart(8, '0')}.hex`);
  writeFileSync(file, `# ${finding.message.split('\n')[0]}\n${toHex(finding.bytes).replace(/.{120}/g, '$&\n')}\n`);
  console.log(`FOUND ${finding.message}`);
  console.log(`  kept as ${file}`);
  console.log(`  repeat: npm run fuzz -- --decoder ${finding.target} --seed ${seed} --input ${n}`);
  if (finding.cause instanceof Error) console.log(`  ${finding.cause.stack?.replaceAll('\n', '\n  ')}`);
}
