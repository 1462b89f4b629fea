// Starts two instances of _server.mjs on one database: the second takes over, the first steps down at its next write.
//
//   npm run build && node examples/login-store/login-store.mjs
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath, pathToFileURL } from 'node:url';

const directory = await mkdtemp(join(tmpdir(), 'shaledb-logins-'));
const program = fileURLToPath(new URL('_server.mjs', import.meta.url));
const env = { ...process.env, DATABASE: pathToFileURL(directory).href, PORT: '0', TTL_MS: '60000' };

async function instance(name) {
  const child = spawn(process.execPath, [program], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const lines = createInterface({ input: child.stdout });
  const [first] = await once(lines, 'line');
  lines.on('line', (line) => console.log(`  ${name}: ${line}`));
  const base = first.slice(first.indexOf('http'));
  const call = async (method, path, id = '') => {
    const response = await fetch(base + path, { method, headers: id === '' ? {} : { authorization: `Bearer ${id}` } });
    const body = await response.json();
    console.log(`${name}: ${method} ${path} -> ${response.status} ${JSON.stringify(body)}`);
    return { status: response.status, ...body };
  };
  return { child, exited, call };
}

try {
  const first = await instance('first');
  const { id } = await first.call('POST', '/login?user=ada');
  await first.call('GET', '/me', id);
  const second = await instance('second');
  const kept = await second.call('GET', '/me', id);
  const late = await first.call('POST', '/login?user=bob');
  const [firstCode] = await first.exited;
  await second.call('POST', '/logout', id);
  const after = await second.call('GET', '/me', id);
  second.child.kill('SIGTERM');
  const [secondCode] = await second.exited;
  console.log(`the first ended with ${firstCode}, the second with ${secondCode}`);
  const isRight =
    kept.user === 'ada' && late.status === 503 && after.status === 401 && firstCode === 3 && secondCode === 0;
  if (!isRight) process.exitCode = 1;
} finally {
  await rm(directory, { recursive: true });
}
