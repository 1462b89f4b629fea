// Part of the scripts in this directory, to try them without a database of your own: a directory with 200 rows whose
// writer was killed, and a few bytes of its log overwritten.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const WRITER = `
import { open, WriteBatch } from 'shaledb';
const db = await open(process.argv[1]);
for (let n = 0; n < 10; n++) {
  const batch = new WriteBatch();
  for (let i = 0; i < 20; i++) batch.put('row/' + String(n * 20 + i).padStart(3, '0'), 'value');
  await db.write(batch);
}
process.kill(process.pid, 'SIGKILL');
`;

/** The location that was given on the command line, or a damaged database that is deleted when the work is done. */
export async function withLocation(work) {
  const given = process.argv[2];
  if (given !== undefined) return work(given);
  const directory = await mkdtemp(join(tmpdir(), 'shaledb-repair-'));
  try {
    const location = pathToFileURL(directory).href;
    const child = spawn(process.execPath, ['--input-type=module', '-e', WRITER, location], { stdio: 'inherit' });
    await once(child, 'close');
    const log = (await readdir(join(directory, 'wal'))).sort();
    const victim = join(directory, 'wal', log[5]);
    const bytes = await readFile(victim);
    bytes.fill(0, 100, 140);
    await writeFile(victim, bytes);
    return await work(location);
  } finally {
    await rm(directory, { recursive: true });
  }
}
