/**
 * The memory of WAL objects: used again for the next object once the store is done with it, never while bytes of it may still
 * be on their way.
 */
import { describe, expect, it } from 'vitest';
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { type Db, MemoryStore, type ObjectStore, open, type PutOutcome, WriteBatch } from '../../src/index.ts';
import { forwarding } from '../support/forwarding-store.ts';

const PUTS = 6;
const ROWS = 600;

interface Sent {
  buffer: ArrayBufferLike;
  view: Uint8Array;
  copy: Uint8Array;
}

type Answer = (apply: () => Promise<PutOutcome>, nth: number) => Promise<PutOutcome>;

/** A store that notes what it is sent as WAL objects, and answers as the test says. */
function noting(answer: Answer, isKnown: boolean): { store: ObjectStore; sent: Sent[] } {
  const memory = new MemoryStore();
  const sent: Sent[] = [];
  const put: ObjectStore['put'] = (path, bytes, options) => {
    const apply = () => memory.put(path, bytes, options);
    if (!path.includes('wal/') || bytes.length < 10_000) return apply();
    sent.push({ buffer: bytes.buffer, view: bytes, copy: bytes.slice() });
    return answer(apply, sent.length);
  };
  return { store: { ...forwarding(memory), ...(isKnown && { conformance: 'known' as const }), put }, sent };
}

async function writeLarge(db: Db): Promise<void> {
  for (let n = 0; n < PUTS; n++) {
    const batch = new WriteBatch();
    for (let i = 0; i < ROWS; i++) batch.put(`key ${n} ${i}`, `value ${n} ${i}`.padEnd(100, '.'));
    await db.write(batch);
  }
}

async function expectRows(store: ObjectStore): Promise<void> {
  const db = await open({ store, path: 'db' }, { logger: SILENT_LOGGER });
  for (let n = 0; n < PUTS; n++) {
    for (let i = 0; i < ROWS; i += 50) {
      expect(new TextDecoder().decode(await db.get(`key ${n} ${i}`))).toBe(`value ${n} ${i}`.padEnd(100, '.'));
    }
  }
  await db.close();
}

async function run(answer: Answer, isKnown = true): Promise<Sent[]> {
  const { store, sent } = noting(answer, isKnown);
  const db = await open({ store, path: 'db' }, { logger: SILENT_LOGGER });
  await writeLarge(db);
  await db.close();
  await expectRows(store);
  return sent;
}

describe('memory of WAL objects', () => {
  it('is used again once an object is stored', async () => {
    const sent = await run((apply) => apply());
    expect(sent.length).toBe(PUTS);
    expect(new Set(sent.map((s) => s.buffer)).size).toBe(1);
  });

  it('is left alone in a store that is not known to copy it', async () => {
    const sent = await run((apply) => apply(), false);
    expect(new Set(sent.map((s) => s.buffer)).size).toBe(PUTS);
  });

  it.each<[string, Answer]>([
    ['had no answer', async (apply, nth) => (nth === 2 ? { outcome: 'unknown', cause: new Error('lost') } : apply())],
    [
      'was applied without an answer',
      async (apply, nth) => {
        const outcome = await apply();
        return nth === 2 ? { outcome: 'unknown', cause: new Error('lost') } : outcome;
      },
    ],
    [
      'failed in a way that the store has no word for',
      async (apply, nth) => {
        if (nth === 2) throw new Error('broken');
        return apply();
      },
    ],
  ])('is left alone after a put of it %s', async (_, answer) => {
    const sent = await run(answer);
    const [first, second, third, fourth] = sent;
    expect(sent.length).toBe(PUTS + 1);
    expect(second.buffer).toBe(first.buffer);
    expect(third.buffer).toBe(second.buffer);
    expect(third.copy).toEqual(second.copy);
    expect(fourth.buffer).not.toBe(second.buffer);
    expect(second.view).toEqual(second.copy);
    expect(new Set(sent.slice(3).map((s) => s.buffer)).size).toBe(1);
  });
});
