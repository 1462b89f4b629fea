/** What a database reports besides its answers: how far a long replay has come, and damage that costs no more than was agreed to. */
import { describe, expect, it } from 'vitest';
import type { DbEvent } from '../../src/common/events.ts';
import { walPath } from '../../src/format/object-names.ts';
import { latencyStore } from '../../src/store/latency-store.ts';
import { rowsOf, World } from '../support/database.ts';

const LATENCY_MS = 600;

function listener(): { events: DbEvent[]; onEvent: (event: DbEvent) => void } {
  const events: DbEvent[] = [];
  return { events, onEvent: (event) => void events.push(event) };
}

/** 300 WAL objects with a row each after the fence. */
async function longLog(): Promise<World> {
  const world = new World();
  await world.writeAndCrash(Array.from({ length: 300 }, (_, i) => `k${i}`));
  return world;
}

describe('a long replay', () => {
  it('is reported about once a second, and in the log', async () => {
    const world = await longLog();
    world.store = latencyStore(world.faults, { clock: world.clock, latencyMs: LATENCY_MS });
    const { events, onEvent } = listener();
    await world.open({ onEvent });
    // 301 objects, 64 at a time, in five rounds of 600 ms: the first that ends 1,000 ms after the last word says the next.
    expect(events).toEqual([
      { type: 'replay', phase: 'read', objects: 65, of: 301 },
      { type: 'replay', phase: 'read', objects: 193, of: 301 },
    ]);
    const lines = world.log.filter((l) => l.message === 'reading the log');
    expect(lines.map((l) => l.fields)).toEqual([
      { objects: 65, of: 301 },
      { objects: 193, of: 301 },
    ]);
  });

  it('is reported while its rows go into tables, where they do not fit into memory', async () => {
    const world = new World();
    const { db, line } = await world.connect();
    for (let i = 0; i < 60; i++) await world.run(db.put(`k${i}`, new Uint8Array(4096)));
    line.cut();
    world.store = latencyStore(world.faults, { clock: world.clock, latencyMs: LATENCY_MS });
    const { events, onEvent } = listener();
    await world.open({ onEvent, l0SstSizeBytes: 4096, maxUnflushedBytes: 16_384 });
    const applied = events.flatMap((e) => (e.type === 'replay' && e.phase === 'apply' ? [e] : []));
    expect(applied.length).toBeGreaterThan(5);
    expect(applied.every((e, i) => e.of === 61 && e.objects > (applied[i - 1]?.objects ?? 0))).toBe(true);
  });

  it('that is short says nothing', async () => {
    const { events, onEvent } = listener();
    const world = await longLog();
    await world.open({ onEvent });
    expect(events).toEqual([]);
  });
});

describe('damage that the caller decided to live with', () => {
  async function damagedLog(): Promise<World> {
    const world = new World();
    await world.writeAndCrash(['a', 'b']);
    const bytes = await world.bytes(walPath(3));
    bytes[5] ^= 1;
    await world.replace(walPath(3), bytes);
    return world;
  }

  it('is reported finding by finding', async () => {
    const world = await damagedLog();
    const { events, onEvent } = listener();
    expect(await rowsOf(world, await world.openReader({ allowPrefix: true, onEvent }))).toEqual(['a=value of a']);
    // Damage is looked at three times, over more than a second: the replay has become a long one.
    expect(events.filter((e) => e.type === 'finding')).toMatchObject([
      { finding: { object: { path: walPath(3) }, severity: 'error' } },
    ]);
  });

  it('is survived by the database also if the listener throws', async () => {
    const world = await damagedLog();
    const onEvent = () => {
      throw new Error('the listener is broken');
    };
    expect(await rowsOf(world, await world.openReader({ allowPrefix: true, onEvent }))).toEqual(['a=value of a']);
    expect(world.log).toContainEqual(
      expect.objectContaining({ level: 'error', message: 'the onEvent function threw', fields: expect.anything() }),
    );
  });
});
