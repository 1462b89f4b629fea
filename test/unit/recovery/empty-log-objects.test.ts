/**
 * What empty objects of the log were, as data: one log per line. An object is `id:kind`, with `/eN` if its seal says epoch N and `>` if
 * that seal names the object before it; `rows[a-b]` has these sequence numbers. `gone` is no object, `torn` one that cannot be read.
 * `=N/eM`: a manifest says that object N is of epoch M. `bound/eN`: all objects before this place were there when no epoch above N had
 * been claimed. After the bar: the highest epoch that a writer claimed. After the arrow: the verdict of each run, and its rule.
 */
import { describe, expect, it } from 'vitest';
import {
  boundAfter,
  type ClassifiedRun,
  classifyEmptyObjects,
  type KnownEpoch,
  type LogFacts,
  type LogSlot,
  RULES,
} from '../../../src/recovery/empty-log-objects.ts';

const KINDS: Record<string, LogSlot['kind']> = {
  gone: 'missing',
  torn: 'unreadable',
  empty: 'empty',
  fence: 'fence',
  rows: 'rows',
};

function factsOf(log: string, writerEpoch: number): LogFacts {
  const slots: LogSlot[] = [];
  const known: KnownEpoch[] = [];
  let from = 0;
  for (const word of log.trim().split(/ +/)) {
    const bound = /^bound\/e(\d+)$/.exec(word);
    if (bound !== null) {
      known.push(boundAfter(slots.length === 0 ? 0 : from + slots.length - 1, Number(bound[1])));
      continue;
    }
    const settled = /^=(\d+)\/e(\d+)$/.exec(word);
    if (settled !== null) {
      known.push({ id: Number(settled[1]), epoch: Number(settled[2]), isFence: false });
      continue;
    }
    const [, id, kind, min, max, epoch, names] =
      /^(\d+):(gone|torn|empty|fence|rows)(?:\[(\d+)-(\d+)\])?(?:\/e(\d+))?(>?)$/.exec(word)!;
    if (slots.length === 0) from = Number(id);
    expect(Number(id), log).toBe(from + slots.length);
    slots.push({
      kind: KINDS[kind!]!,
      isSealed: epoch !== undefined && kind !== 'torn',
      namesPredecessor: names === '>',
      ...(min !== undefined && { seqs: { min: Number(min), max: Number(max) } }),
    });
    if (epoch !== undefined) known.push({ id: Number(id), epoch: Number(epoch), isFence: kind === 'fence' });
  }
  return { from, slots, known, writerEpoch };
}

function answerOf(runs: readonly ClassifiedRun[]): string {
  if (runs.length === 0) return 'no doubt';
  return runs.map(({ ids, verdict, rule }) => `${ids.join(',')} ${verdict} (${rule})`).join('; ');
}

const LOGS = [
  // The first object, and what a manifest or a seal says, is never in doubt.
  '1:empty                                                | 1 => no doubt',
  '1:empty 2:rows[1-2]                                    | 1 => no doubt',
  '1:fence/e1 2:rows[1-2]/e1>                             | 1 => no doubt',
  '1:fence/e1 2:empty =2/e1                               | 1 => no doubt',
  '1:fence/e1 2:torn/e1 3:rows[4-5]/e1>                   | 1 => no doubt',
  '1:gone 2:torn                                          | 1 => no doubt',
  // A single one before a sealed object that names what came before it.
  '1:fence/e1 2:empty 3:rows[1-2]/e1>                     | 1 => 2 fence (R2)',
  '1:fence/e1 2:empty 3:fence/e2>                         | 2 => 2 fence (R2)',
  '1:empty 2:empty 3:rows[1-2]/e2>                        | 2 => 2 fence (R2)',
  '1:gone 2:empty 3:rows[1-2]/e1>                         | 1 => 2 fence (R2)',
  // Between known epochs.
  '1:fence/e1 2:empty                                     | 1 => 2 lost (R3)',
  '1:fence/e1 2:empty                                     | 2 => 2 fence (R7)',
  '1:fence/e1 2:empty 3:empty                             | 2 => 2,3 lost (R3)',
  '1:fence/e1 2:empty 3:empty                             | 3 => 2,3 fence (R7)',
  '1:fence/e1 2:rows[1-2]/e1> 3:empty                     | 1 => 3 lost (R3)',
  '1:fence/e1 2:rows[1-2]/e1> 3:empty                     | 2 => 3 fence (R7)',
  '1:fence/e1 2:empty 3:empty 4:rows[3-4]/e2>             | 3 => 2,3 lost (R3)',
  '1:fence/e1 2:empty 3:empty 4:rows[3-4]/e3>             | 3 => 2,3 fence (R6)',
  '1:fence/e1 2:empty 3:empty 4:fence/e3>                 | 3 => 2,3 lost (R3)',
  '1:fence/e1 2:empty 3:empty 4:fence/e4>                 | 4 => 2,3 fence (R6)',
  '1:fence/e1 2:empty 3:rows[3-4]/e1                      | 1 => 2 lost (R3)',
  '1:fence/e1 2:empty 3:rows[3-4]/e2                      | 2 => 2 fence (R7)',
  '1:fence/e1 2:gone 3:empty                              | 2 => 3 lost (R3)',
  '1:fence/e1 2:gone 3:empty                              | 3 => 3 unsure (R8)',
  '1:fence/e1 2:torn 3:empty 4:rows[5-6]/e2>              | 2 => 3 fence (R2)',
  '1:fence/e1 2:torn 3:empty 4:empty 5:rows[5-6]/e2>      | 2 => 3,4 lost (R3)',
  '1:fence/e1 2:torn 3:empty 4:empty 5:rows[5-6]/e4>      | 4 => 3,4 fence (R6)',
  '1:fence/e1 2:empty 3:gone 4:empty                      | 3 => 2 fence (R7); 4 lost (R3)',
  '1:fence/e1 2:empty 3:gone 4:empty                      | 4 => 2 fence (R7); 4 unsure (R8)',
  '1:fence/e1 2:empty =3/e1 3:empty 4:empty               | 2 => 2 lost (R3); 4 fence (R7)',
  '8:rows[20-22]/e4> 9:empty 10:empty                     | 5 => 9,10 lost (R3)',
  '8:rows[20-22]/e4> 9:empty 10:empty                     | 6 => 9,10 fence (R7)',
  // An object without a seal beside them may have any epoch.
  '1:fence/e1 2:rows[1-2] 3:empty                         | 1 => 3 unsure (R8)',
  '1:fence/e1 2:empty 3:rows[1-2]                         | 1 => 2 fence (R7)',
  '1:fence/e1 2:empty 3:empty 4:rows[1-2]                 | 1 => 2,3 fence (R7)',
  // Without any known epoch before them: the fences of the whole log, against all epochs.
  '1:empty 2:empty                                        | 1 => 2 lost (R4)',
  '1:empty 2:empty                                        | 2 => 2 unsure (R8)',
  '1:empty 2:rows[1-2] 3:empty 4:rows[3-4]                | 1 => 3 unsure (R8)',
  '1:empty 2:rows[1-2] 3:empty 4:rows[5-6]                | 1 => 3 lost (R4)',
  '1:empty 2:rows[1-2] 3:empty 4:rows[5-6]                | 2 => 3 unsure (R8)',
  '1:empty 2:rows[1-2] 3:empty 4:rows[3-4] 5:empty 6:rows[7-8] | 2 => 3 unsure (R8); 5 lost (R4)',
  '1:empty 2:rows[1-2] 3:empty                            | 1 => 3 lost (R4)',
  '1:empty 2:fence 3:empty                                | 2 => 3 lost (R4)',
  '1:empty 2:fence 3:empty                                | 3 => 3 unsure (R8)',
  '1:empty 2:rows[1-2] 3:empty 4:rows[5-6] 5:fence/e2>    | 2 => 3 lost (R4)',
  '7:rows[9-9] 8:empty                                    | 1 => 8 lost (R4)',
  '7:rows[9-9] 8:empty                                    | 2 => 8 unsure (R8)',
  '7:empty 8:empty                                        | 2 => 7,8 lost (R4)',
  // Beside what is missing or cannot be read.
  '1:empty 2:gone 3:empty                                 | 9 => 3 lost (R5)',
  '1:empty 2:torn 3:empty                                 | 9 => 3 lost (R5)',
  '1:gone 2:empty                                         | 9 => 2 lost (R5)',
  '1:gone 2:empty 3:empty 4:rows[1-2]/e9>                 | 9 => 2,3 lost (R5)',
  '5:torn 6:empty                                         | 9 => 6 lost (R5)',
  // What a repair found when it claimed the database.
  '1:fence/e1 2:empty bound/e1 3:empty                    | 3 => 2 lost (R3); 3 fence (R7)',
  '1:fence/e1 2:empty bound/e2 3:empty                    | 3 => 2 fence (R7); 3 fence (R7)',
  '1:fence/e1 2:empty bound/e2 3:empty                    | 2 => 2 fence (R7); 3 lost (R3)',
  '1:empty 2:rows[1-2] bound/e1 3:empty                   | 1 => 3 lost (R3)',
  '1:empty 2:rows[1-2] bound/e1 3:empty                   | 2 => 3 fence (R7)',
  // A bound before the first object: the log was empty then, and it says nothing of any object.
  'bound/e1 1:empty 2:empty                               | 1 => 2 lost (R4)',
  'bound/e1 1:empty 2:rows[1-2] 3:empty 4:rows[5-6]       | 1 => 3 lost (R4)',
  'bound/e3 1:empty 2:empty                               | 2 => 2 unsure (R8)',
];

describe('empty objects of a log', () => {
  it.each(LOGS)('%s', (line) => {
    const [, log, epoch, answer] = /^(.*?)\| (\d+) => (.*)$/.exec(line)!;
    expect(answerOf(classifyEmptyObjects(factsOf(log!, Number(epoch))))).toBe(answer);
  });

  it('are judged by every rule at least twice, one way and the other', () => {
    for (const { name } of RULES) {
      const lines = LOGS.filter((line) => line.includes(`(${name})`));
      expect(lines.length, name).toBeGreaterThan(1);
    }
    expect(LOGS.length).toBeGreaterThan(40);
  });

  it('are each judged once, whatever the log', () => {
    const kinds = ['gone', 'torn', 'empty', 'empty', 'fence', 'rows', 'rows/e2', 'fence/e2'];
    for (let n = 0; n < 8 ** 5; n += 7) {
      const log = Array.from({ length: 5 }, (_, i) => `${i + 1}:${kinds[Math.floor(n / 8 ** i) % 8]}`).join(' ');
      const ids = classifyEmptyObjects(factsOf(log, 2)).flatMap((run) => run.ids);
      const inDoubt = log.split(' ').flatMap((word, i) => (i > 0 && word.endsWith(':empty') ? i + 1 : []));
      expect(ids, log).toEqual(inDoubt);
    }
  });
});
