/** What a scheduler that is given may return, and what it may do to its input. */
import { describe, expect, it } from 'vitest';
import { askedSchedule, onCopies } from '../../../src/compaction/scheduler-call.ts';
import { type Scheduler, type SchedulerInput, treeFacts } from '../../../src/compaction/scheduling.ts';
import { parseManifest, tableId } from '../../support/manifest-script.ts';
import { DEFAULTS } from '../../support/tree-notation.ts';

const trees = treeFacts(parseManifest('l0 C v:B[bm,) A; run 4 E'), () => ({
  puts: 1,
  deletes: 0,
  merges: 0,
  rowBytes: 9,
  expiring: [],
}));
const INPUT: SchedulerInput = {
  trees,
  active: [{ id: tableId('J'), tree: '', l0ViewIds: [tableId('A')], runs: [4], destination: 4 }],
  slots: 2,
  avoid: new Set([tableId('E')]),
  nowMs: 7,
  barrier: 0,
  lastSeq: 0,
  keptWhole: [{ gte: Uint8Array.of(1), lte: undefined }],
  options: DEFAULTS,
};
const [view] = trees[0]!.l0;
const proposal = { tree: '', l0: [view], runs: [4], reason: 'x' };

const asked = (answer: unknown) => askedSchedule((() => answer) as Scheduler, INPUT);

/** What is refused of an answer: of the whole, or of its proposals. */
function refusals(answer: unknown): string[] {
  const texts = (errors: readonly unknown[]) =>
    errors.flatMap((error) => {
      if (!(error instanceof Error)) return [];
      expect(error).toMatchObject({ code: 'COMPACTION_INVALID', details: { fault: 'malformed' } });
      return error.message.replace('The scheduler of compactions: ', '');
    });
  try {
    return texts(asked(answer).proposals);
  } catch (error) {
    return texts([error]);
  }
}

describe('the answer of a scheduler', () => {
  const mustReturn = 'It must return { proposals, wakeAtMs? } at once';
  it.each([
    [undefined, `${mustReturn}, not undefined.`],
    ['size', `${mustReturn}, not "size".`],
    [{}, `${mustReturn}, with an array of proposals, not proposals: undefined.`],
    [{ proposals: proposal }, `${mustReturn}, with an array of proposals, not proposals: an object.`],
    ...[Number.NaN, 'soon', {}, null, 5n].map((wakeAtMs) => [
      { proposals: [proposal], wakeAtMs },
      expect.stringMatching(/^wakeAtMs must be a number, ms since the epoch, or absent, not .+[.]$/),
    ]),
    [{ proposals: [null] }, 'proposals[0] must be { tree, l0, runs, reason }, not null.'],
    [{ proposals: [proposal, { ...proposal, tree: 1 }] }, 'proposals[1].tree must be a string, not 1.'],
    [{ proposals: [{ ...proposal, reason: undefined }] }, 'proposals[0].reason must be a string, not undefined.'],
    [{ proposals: [{ ...proposal, runs: 4 }] }, 'proposals[0].runs must be an array of ids, not 4.'],
    [{ proposals: [{ ...proposal, runs: [4, '3'] }] }, 'proposals[0].runs[1] must be the id of a run, not "3".'],
    [{ proposals: [{ ...proposal, l0: new Set([view]) }] }, 'proposals[0].l0 must be an array of views, not a Set.'],
    ...[
      'C',
      { viewId: 'C' },
      { ...view, visibleRange: {} },
      { ...view, visibleRange: { start: { kind: 'included' } } },
    ].map((one) => [
      { proposals: [{ ...proposal, l0: [one] }] },
      expect.stringMatching(/^proposals.0..l0.0. must be a view of the input/),
    ]),
  ])('that is no schedule, or has none, is refused (%#)', (answer, message) => {
    expect(refusals(answer)).toEqual([message]);
  });

  it('is no promise, whose rejection is not left alone', async () => {
    expect(refusals(Promise.reject(new Error('late')))).toEqual([
      `${mustReturn}, with an array of proposals, not a Promise.`,
    ]);
  });

  it('is taken with any number as wakeAtMs, of which Infinity is never', () => {
    expect([0, -1, 8.5, Infinity, undefined].map((wakeAtMs) => asked({ proposals: [], wakeAtMs }).wakeAtMs)).toEqual([
      0,
      -1,
      8.5,
      undefined,
      undefined,
    ]);
  });

  it('is not read after the slots', () => {
    expect(asked({ proposals: [proposal, proposal, null] }).proposals).toEqual([proposal, proposal]);
  });
});

it('a scheduler that is given may change all of its input', () => {
  const before = structuredClone(INPUT);
  const change = (value: unknown): void => {
    if (value instanceof Set) value.clear();
    else if (value instanceof Uint8Array) value.fill(9);
    else if (typeof value === 'object' && value !== null) {
      for (const [name, member] of Object.entries(value)) {
        change(member);
        Reflect.set(value, name, 'changed');
      }
    }
  };
  let seen: unknown;
  onCopies((input) => {
    seen = structuredClone(input);
    change(input);
    return { proposals: [] };
  })(INPUT);
  expect(seen).toEqual(before);
  expect(INPUT).toEqual(before);
});
