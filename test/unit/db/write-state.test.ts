/** What the parts of a writer share: each of its rules, and that the handle fails with the one that was broken. */
import { describe, expect, it } from 'vitest';
import { ClosedError, FencedError, InternalError } from '../../../src/common/errors.ts';
import type { WriteState } from '../../../src/db/write-state.ts';
import { NO_TS } from '../../../src/format/row-flags.ts';
import { EMPTY_TREE } from '../../../src/lsm/tree/table-store.ts';
import { newWriteState } from '../../support/write-state.ts';

const KEY = Uint8Array.of(1);

/** Writes one row, which is neither sent nor durable. */
function write(state: WriteState): number {
  const seq = state.lastSeq + 1;
  state.active.add(KEY, KEY, seq, 0, NO_TS, NO_TS);
  state.assigned(seq);
  return seq;
}

/** Writes a row and makes it durable. */
function store(state: WriteState): number {
  const seq = write(state);
  state.sending(seq);
  state.madeDurable(seq);
  return seq;
}

const marks = (s: WriteState) => [s.lastSeq, s.sentSeq, s.durableSeq];

/** The move throws, moves nothing, and ends the handle with the same error as cause. */
function expectBroken(state: WriteState, move: () => void, rule: RegExp): void {
  const before = [...marks(state), state.frozen, state.active, state.view];
  let thrown: unknown;
  try {
    move();
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(InternalError);
  expect((thrown as Error).message).toMatch(rule);
  expect((thrown as Error).message).toContain('report this message with its details and its stack');
  expect((thrown as InternalError).details).toMatchObject({ lastSeq: state.lastSeq, durableSeq: state.durableSeq });
  expect(state.ended).toBeInstanceOf(ClosedError);
  expect(state.ended).toMatchObject({ code: 'FAILED', cause: thrown });
  expect(() => state.assertServing()).toThrow(state.ended);
  expect([...marks(state), state.frozen, state.active, state.view]).toEqual(before);
}

describe('the watermarks', () => {
  it('move in their order', () => {
    const state = newWriteState();
    const first = write(state);
    const second = write(state);
    expect(marks(state)).toEqual([second, 10, 10]);
    state.sending(first);
    expect(marks(state)).toEqual([second, first, 10]);
    state.madeDurable(first);
    expect(marks(state)).toEqual([second, first, first]);
    state.sending(first);
    state.madeDurable(first);
    expect(marks(state)).toEqual([second, first, first]);
  });

  it('of a replay move together, and never back', () => {
    const state = newWriteState();
    state.replayed(14, 7);
    state.replayed(12, 3);
    expect([...marks(state), state.lastTickMs]).toEqual([14, 14, 14, 7]);
  });

  it('only fall where what was sent is known to be refused', () => {
    const state = newWriteState();
    state.sending(write(state));
    state.refused();
    expect(marks(state)).toEqual([11, 10, 10]);
    state.fail(new FencedError('WRITER_FENCED', 'x'));
    expect(state.endedFor(11)).toMatchObject({ outcome: 'not-applied' });
  });

  it.each([12, 10, 9])('are broken by a write with number %i after 10', (seq) => {
    const state = newWriteState();
    state.active.add(KEY, KEY, seq, 0, NO_TS, NO_TS);
    expectBroken(state, () => state.assigned(seq), /numbered without a gap/);
  });

  it('are broken by a number whose rows are not in the memtable', () => {
    const state = newWriteState();
    expectBroken(state, () => state.assigned(11), /numbered without a gap/);
  });

  it('are broken by sending what has no number', () => {
    const state = newWriteState();
    write(state);
    expectBroken(state, () => state.sending(12), /nothing is sent that has no number/);
  });

  it('are broken by durable rows that were not sent, which no waiter learns of', async () => {
    const state = newWriteState();
    const waiting = state.waiters.add(write(state));
    waiting.catch(() => undefined);
    expectBroken(state, () => state.madeDurable(11), /nothing is durable that was not sent/);
    await expect(waiting).rejects.toMatchObject({ code: 'FAILED', outcome: 'not-applied' });
  });

  it.each([
    ['above what is durable', { lastL0Seq: 12 }],
    ['below that of the manifest before', { lastL0Seq: 9 }],
  ])('are broken by tables that reach %s', (_, { lastL0Seq }) => {
    const state = newWriteState();
    store(state);
    write(state);
    expectBroken(state, () => state.adopt(EMPTY_TREE, lastL0Seq), /rows in tables stay there/);
  });

  it('without a log: a table makes its rows durable, which must have been sent', () => {
    const state = newWriteState({ walEnabled: false });
    const seq = write(state);
    state.freeze(undefined);
    state.sending(seq);
    state.adopt(EMPTY_TREE, seq);
    state.madeDurable(seq);
    expect([...marks(state), state.frozen.length]).toEqual([seq, seq, seq, 0]);
    write(state);
    expectBroken(state, () => state.adopt(EMPTY_TREE, seq + 1), /rows in tables stay there/);
  });
});

describe('memtables', () => {
  it('leave the view when the manifest in use has all their rows, and in the same step', () => {
    const state = newWriteState();
    const first = store(state);
    const oldest = state.freeze(3);
    const second = store(state);
    const newer = state.freeze(4);
    expect(state.frozen).toEqual([oldest, newer]);
    expect(state.view.memtables).toEqual([state.active, newer.table, oldest.table]);
    const tree = { ...EMPTY_TREE };
    state.adopt(tree, first);
    expect(state.frozen).toEqual([newer]);
    expect(state.view).toEqual({ memtables: [state.active, newer.table], tree });
    state.adopt(tree, second);
    expect(state.view.memtables).toEqual([state.active]);
  });

  it('get the pairs of their own rows', () => {
    const state = newWriteState();
    store(state);
    state.sampled({ seq: 11, timeS: 5 });
    const frozen = state.freeze(3);
    store(state);
    expect([frozen.trackerPairs, state.freeze(4).trackerPairs]).toEqual([[{ seq: 11, timeS: 5 }], []]);
  });

  it('are never frozen without rows', () => {
    const state = newWriteState();
    expectBroken(state, () => state.freeze(undefined), /frozen with rows/);
  });

  it('are never frozen with rows that have no number', () => {
    const state = newWriteState();
    state.active.add(KEY, KEY, 11, 0, NO_TS, NO_TS);
    expectBroken(state, () => state.freeze(undefined), /in the order of their numbers/);
  });

  it('get their last WAL object when their rows are durable, once, and in order', () => {
    const state = newWriteState();
    const seq = write(state);
    const frozen = state.freeze(undefined);
    state.sending(seq);
    state.madeDurable(seq);
    state.tableDurable(frozen, 5);
    expect(frozen.lastWalId).toBe(5);
    store(state);
    expectBroken(state, () => state.freeze(4), /set once, in order/);
    const other = newWriteState();
    write(other);
    const early = other.freeze(undefined);
    expectBroken(other, () => other.tableDurable(early, 5), /when its rows are durable/);
    const twice = newWriteState();
    store(twice);
    const had = twice.freeze(5);
    expectBroken(twice, () => twice.tableDurable(had, 6), /set once/);
  });

  it.each([
    [5, 6],
    [5, 5],
    [5, 4],
  ])('get it in the order of the memtables: %i, then %i', (first, second) => {
    const state = newWriteState();
    const frozen = [1, 2, 3].map(() => {
      write(state);
      return state.freeze(undefined);
    });
    state.sending(state.lastSeq);
    state.madeDurable(state.lastSeq);
    state.tableDurable(frozen[0], 9);
    state.tableDurable(frozen[1], 9 + first);
    if (second >= first) state.tableDurable(frozen[2], 9 + second);
    else expectBroken(state, () => state.tableDurable(frozen[2], 9 + second), /in order/);
    expect(frozen.map((f) => f.lastWalId)).toEqual([9, 9 + first, second >= first ? 9 + second : undefined]);
  });
});

describe('memory of objects under way', () => {
  it('counts against the budget while it is held', () => {
    const state = newWriteState();
    const empty = state.unflushedBytes;
    state.hold(1000);
    expect(state.unflushedBytes).toBe(empty + 1000);
    state.letGo(400);
    state.letGo(600);
    expect(state.unflushedBytes).toBe(empty);
  });

  it('is never let go twice', () => {
    const state = newWriteState();
    state.hold(1000);
    state.letGo(1000);
    expectBroken(state, () => state.letGo(1), /no more memory is let go than is held/);
  });
});

describe('the end', () => {
  it('comes with a waiter out of order, and rejects who waits already and who comes later', async () => {
    const state = newWriteState();
    const [first, second] = [write(state), write(state)];
    const waiting = state.untilDurable(second, undefined).catch((error: unknown) => error);
    expect(() => state.untilDurable(first, undefined)).toThrow(InternalError);
    expect(state.ended?.message).toMatch(/who waits for durability comes in the order of the writes/);
    const late = state.untilDurable(first, undefined).catch((error: unknown) => error);
    for (const waiter of [waiting, late])
      expect(await waiter).toMatchObject({ code: 'FAILED', outcome: 'not-applied', cause: state.ended?.cause });
  });

  it('has one cause, the first, and reaches every listener once', () => {
    const state = newWriteState();
    const heard: unknown[] = [];
    state.onEnd((error) => heard.push(error));
    expectBroken(state, () => state.mustHold(false, 'two and two make five'), /two and two make five/);
    state.mustHold(true, 'never said');
    state.fail(new Error('later'));
    state.close();
    state.onEnd((error) => heard.push(error));
    expect(heard).toEqual([state.ended, state.ended]);
  });
});
