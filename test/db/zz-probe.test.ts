import { it } from 'vitest';
import { World, Line } from '../support/database.ts';
import { FaultyStore } from '../../src/store/faulty-store.ts';
import { SeededRandom } from '../../src/common/random.ts';
it('probe', async () => {
  const w = new World();
  await w.writeAndCrash(['a', 'b', 'c']);
  for (const n of [1, 8, 64]) {
    const t = performance.now();
    const all = Array.from({ length: n }, (_, bit) => {
      const f = new FaultyStore(w.memory, { clock: w.clock, random: new SeededRandom(1), rules: [{ action: 'flip', op: 'get', path: 'wal/00000000000000000003.sst', bit }] });
      return w.opening({}, new Line(f, w.clock)).then(() => 'open', (e) => e.name);
    });
    const r = await w.run(Promise.all(all));
    console.log(n, performance.now() - t, new Set(r), w.clock.monotonicMs());
  }
}, 60000);
