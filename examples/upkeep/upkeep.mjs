// A database that keeps itself small while it is used: how it is stored before and after, and what the roles beside it have done.
//
//   npm run build && node examples/upkeep/upkeep.mjs
import { MemoryStore, open } from 'shaledb';
import { compact, gcOnce } from 'shaledb/admin';

const store = new MemoryStore();
const location = { store, path: 'metrics' };
const kib = (bytes) => `${Math.round(bytes / 1024)} KiB`.padStart(8);

/** Every counter is written again and again: most of what is stored is old. */
async function countFor(db, minutes) {
  for (let minute = 0; minute < minutes; minute++) {
    for (let i = 0; i < 500; i++) await db.put(`counter/${i}`, `${minute * i}`.padEnd(100), { awaitDurable: false });
    await db.flush({ type: 'memtable' });
  }
}

function show(when, { trees, liveBytes, amplification, compactor }) {
  const [{ l0Tables, runs }] = trees;
  const space = amplification.space?.toFixed(2) ?? '-';
  const phase = compactor?.phase ?? 'off';
  console.log(
    `${when.padEnd(28)}${l0Tables} in level 0, ${runs} runs,${kib(liveBytes)}, space x ${space}, compactor ${phase}`,
  );
}

// 1. The compactor and the collector are on by default; this one has them off, to show what they are for.
const bare = await open(location, { compactor: false, gc: false });
try {
  await countFor(bare, 6);
  show('without upkeep', bare.upkeep());
} finally {
  await bare.close();
}

// 2. With it: whatever was flushed is merged in the background. `compact()` does all of it now and resolves when it is one run.
const db = await open(location, { compactor: { minCompactionSources: 2 } });
try {
  await countFor(db, 2);
  await db.compact();
  show('after compact()', db.upkeep());
} finally {
  await db.close();
}

// 3. Where no writer lives, an operator's script does the same: what it would do first, then for good.
//    Leave these options out where other processes may live: by default a day protects what they still read.
const nobodyElse = { minAgeMs: 0, allowUnsafeMinAge: true, recentManifests: 1 };
const plan = await gcOnce(location, nobodyElse);
const goes = plan.objects.filter(({ state }) => state === 'goes');
console.log(
  `nothing needs ${goes.length} of ${plan.objects.length} objects,${kib(goes.reduce((sum, o) => sum + o.bytes, 0))}`,
);
await gcOnce(location, { apply: true, ...nobodyElse });

const { outcome, trees } = await compact(location);
console.log(`compact() by a script, as a dry run: ${outcome}, ${trees[0]?.before.rows} rows`);
