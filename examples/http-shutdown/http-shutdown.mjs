// Starts the service of _server.mjs, writes through it, stops it in the middle of requests, and shows that every
// acknowledged write is present afterwards and that the next opening has nothing to replay.
//
//   npm run build && node examples/http-shutdown/http-shutdown.mjs
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { openReader } from 'shaledb';

const directory = await mkdtemp(join(tmpdir(), 'shaledb-http-'));
const DATABASE = pathToFileURL(directory).href;
const program = fileURLToPath(new URL('_server.mjs', import.meta.url));
try {
  const server = spawn(process.execPath, [program], {
    env: { ...process.env, DATABASE, PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(server, 'exit');
  const lines = createInterface({ input: server.stdout });
  const [first] = await once(lines, 'line');
  lines.on('line', (line) => console.log(`  server: ${line}`));
  const base = first.slice(first.indexOf('http'));

  const answered = [];
  const put = async (i) => {
    const response = await fetch(`${base}/row/${i}`, { method: 'PUT', body: `value ${i}` });
    if (response.ok) answered.push(i);
  };
  for (let i = 0; i < 20; i++) await put(i);
  console.log(`${answered.length} writes answered`);

  // Twenty more are in progress when the signal comes. Some are answered, some connections are refused.
  const late = Array.from({ length: 20 }, (_, i) => put(20 + i).catch(() => undefined));
  server.kill('SIGTERM');
  await Promise.all(late);
  const [code] = await exited;
  console.log(`the server ended with code ${code}; ${answered.length} writes answered in all`);

  const reader = await openReader(DATABASE);
  const values = await reader.getMany(answered.map((i) => `row/${i}`));
  const walReads = reader.requestCounts().byRole.wal.get;
  await reader.close();
  const lost = answered.filter(
    (i, n) => values[n] === undefined || new TextDecoder().decode(values[n]) !== `value ${i}`,
  );
  console.log(`answered writes missing: ${lost.length}; WAL objects to replay: ${walReads}`);
  if (code !== 0 || lost.length > 0 || walReads > 0) process.exitCode = 1;
} finally {
  await rm(directory, { recursive: true });
}
