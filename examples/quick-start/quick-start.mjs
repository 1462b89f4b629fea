// Open, write, read, scan, close. Node 20.19 or newer; no server, no credentials.
//
//   npm run build && node examples/quick-start/quick-start.mjs
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { open, WriteBatch } from 'shaledb';

const directory = await mkdtemp(join(tmpdir(), 'shaledb-quick-start-'));
const text = (bytes) => new TextDecoder().decode(bytes);

// A directory here; `s3://bucket/path?endpoint=...` and `memory:` work the same way.
const db = await open(pathToFileURL(directory));
try {
  // Resolves when the row is durable: it survives a crash of this process and of the machine.
  const { seq } = await db.put('user/1', 'Ada');
  console.log(`written with sequence number ${seq}`);

  // All or nothing.
  const batch = new WriteBatch();
  batch.put('user/2', 'Grace');
  batch.put('user/3', 'Barbara');
  batch.delete('user/1');
  await db.write(batch);

  // Keys and values are bytes; strings go in as UTF-8. What is absent is undefined.
  console.log('user/2:', text(await db.get('user/2')));
  console.log('user/1:', await db.get('user/1'));

  // Rows come in the order of the keys' bytes.
  for await (const { key, value } of db.scan({ prefix: 'user/' })) {
    console.log(`${text(key)} = ${text(value)}`);
  }
} finally {
  await db.close();
  await rm(directory, { recursive: true });
}
