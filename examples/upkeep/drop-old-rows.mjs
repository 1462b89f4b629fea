// A compaction filter: rows that an application no longer wants go while tables are merged, without being read or deleted one by one.
//
//   npm run build && node examples/upkeep/drop-old-rows.mjs
import { open } from 'shaledb';

const text = (bytes) => new TextDecoder().decode(bytes);

/** Days are kept from this one on. It must answer alike for the same row: decide by what is in it, not by the clock. */
const KEEP_FROM = '2026-03';

const compactionFilter = {
  decide({ key, value }) {
    const day = text(key).slice('event/'.length);
    if (day < KEEP_FROM) return 'drop';
    // Larger fields can be cut out of rows that stay.
    const event = JSON.parse(text(value));
    if (event.trace === undefined) return 'keep';
    const { trace: _, ...rest } = event;
    return { replace: new TextEncoder().encode(JSON.stringify(rest)) };
  },
};

const db = await open('memory:', { compactor: { compactionFilter } });
try {
  for (const day of ['2026-01-31', '2026-02-28', '2026-03-31']) {
    await db.put(`event/${day}`, JSON.stringify({ kind: 'login', trace: 'a'.repeat(200) }));
  }
  await db.compact();
  for await (const { key, value } of db.scan()) console.log(text(key), text(value));
} finally {
  await db.close();
}
