/**
 * The rules about versions of a key as data: one case per line. A version is `seq=kind:value!expiry`, newest first, created at
 * 100 + seq; `put`, `merge` and `del`. After the bar: what is asked, after the arrow: the answer, and the rules that it shows.
 */
import { describe, expect, it } from 'vitest';
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE, NO_TS } from '../../../../src/format/row-flags.ts';
import {
  beginsFold,
  decidedFrom,
  FLAGS_NOT_ALWAYS_SEEN,
  foldParts,
  foldVersions,
  goesAtBottom,
  isFiltered,
  isGone,
  isSeen,
  isSeenNow,
  joinsFold,
  KEEP,
  RETAIN_ALL,
  RETAIN_NEWEST,
  Retention,
  SUPERSEDED,
  type Version,
} from '../../../../src/lsm/rows/visibility.ts';

const bytes = (s: string) => new TextEncoder().encode(s);
const text = (b: Uint8Array) => new TextDecoder().decode(b);

const KINDS: Record<string, number> = { put: 0, merge: FLAG_MERGE, del: FLAG_TOMBSTONE };
const APPEND = {
  merge: (_: Uint8Array, a: Uint8Array | undefined, b: Uint8Array) => bytes((a === undefined ? '' : text(a)) + text(b)),
};

function versionOf(word: string): Version {
  const [, seq, kind, value = '', expiry] = /^(\d+)=(put|merge|del)(?::([^!]*))?(?:!(\d+))?$/.exec(word)!;
  const expires = expiry === undefined ? 0 : FLAG_EXPIRE;
  const expireTs = expiry === undefined ? NO_TS : Number(expiry);
  return {
    flags: KINDS[kind] | FLAG_CREATE | expires,
    value: bytes(value),
    seq: Number(seq),
    createTs: 100 + Number(seq),
    expireTs,
  };
}

function parse(line: string): { versions: Version[]; question: string; answer: string } {
  const [, words, question, answer] = /^(.*?) *\| *(.*?) *=> *(.*?) *\(.*\)$/.exec(line)!;
  return { versions: words.split(/ +/).filter(Boolean).map(versionOf), question, answer };
}

function seenText(versions: Version[], nowMs: number | undefined): string {
  const row = foldVersions(versions, bytes('k'), nowMs, APPEND);
  if (row === undefined) return 'nothing';
  const expiry = row.expireTs === NO_TS ? '' : ` expires ${row.expireTs}`;
  return `${text(row.value)} seq ${row.seq} created ${row.createTs}${expiry}`;
}

const READS = [
  '1=put:x                                    | now 5 => x seq 1 created 101 (V3)',
  '2=put:y 1=put:x                            | now 5 => y seq 2 created 102 (V2)',
  '2=del 1=put:x                              | now 5 => nothing (V2, V3)',
  '1=put:x!6                                  | now 5 => x seq 1 created 101 expires 6 (V1)',
  '1=put:x!5                                  | now 5 => nothing (V1: at its time)',
  '1=put:x!5                                  | now - => x seq 1 created 101 expires 5 (V1: without a time)',
  '2=put:y!4 1=put:x                          | now 5 => nothing (V2: an expired value hides what is older)',
  '1=merge:a                                  | now 5 => a seq 1 created 101 (V4: over nothing)',
  '2=merge:b 1=merge:a                        | now 5 => ab seq 2 created 102 (V4)',
  '3=merge:c 2=merge:b 1=put:a                | now 5 => abc seq 3 created 103 (V4)',
  '3=merge:c 2=del 1=put:a                    | now 5 => c seq 3 created 103 (V2, V4)',
  '3=merge:c 2=put:b!4 1=put:a                | now 5 => c seq 3 created 103 (V3, V4: an expired base is none)',
  '3=merge:c!5 2=merge:b 1=put:a              | now 5 => ab seq 2 created 102 (V4, V5: what has expired leaves no trace)',
  '3=merge:c!5 2=merge:b 1=put:a              | now 4 => abc seq 3 created 103 expires 5 (V5)',
  '3=merge:c!5 2=merge:b 1=put:a              | now - => abc seq 3 created 103 expires 5 (V1, V5)',
  '3=merge:c 2=merge:b!5 1=put:a              | now 5 => ac seq 3 created 103 (V4)',
  '3=merge:c!9 2=merge:b!7 1=put:a!8          | now 5 => abc seq 3 created 103 expires 7 (V5: the earliest)',
  '3=merge:c!5 2=merge:b!5 1=put:a            | now 5 => a seq 1 created 101 (V4: no operand is left)',
  '3=merge:c!5 2=merge:b!5 1=put:a!9          | now 5 => a seq 1 created 101 expires 9 (V4)',
  '3=merge:c!5 2=merge:b!5 1=del              | now 5 => nothing (V4)',
  '2=merge:b!5 1=merge:a!5                    | now 5 => nothing (V4)',
  '4=merge:d 3=put:c 2=merge:b 1=put:a        | now 5 => cd seq 4 created 104 (V2: nothing under the base)',
];

describe('a version that is the newest of its key', () => {
  it('is seen by itself or not, as V3 says, and asks for the time only if it can expire', () => {
    for (const word of ['1=put:x', '1=put:x!5', '1=put:x!6', '1=del', '1=merge:a', '1=merge:a!9', '1=del!9']) {
      const version = versionOf(word);
      let asked = 0;
      const now = () => {
        asked++;
        return 5;
      };
      expect([word, isSeenNow(version.flags, version.expireTs, now)]).toEqual([word, isSeen(version, 5)]);
      expect([word, isSeenNow(version.flags, version.expireTs, undefined)]).toEqual([word, isSeen(version, undefined)]);
      expect([word, asked]).toEqual([word, word.startsWith('1=put:x!') ? 1 : 0]);
      if ((version.flags & FLAGS_NOT_ALWAYS_SEEN) === 0) expect(isSeen(version, Number.MAX_VALUE)).toBe(true);
    }
    expect(versionOf('1=put:x').flags & FLAGS_NOT_ALWAYS_SEEN).toBe(0);
  });
});

describe('what a reader sees', () => {
  it.each(READS)('%s', (line) => {
    const { versions, question, answer } = parse(line);
    const now = question.split(' ')[1];
    expect(seenText(versions, now === '-' ? undefined : Number(now))).toBe(answer);
  });

  it('of no version is nothing', () => {
    expect(foldVersions([], bytes('k'), 5, APPEND)).toBeUndefined();
    expect(decidedFrom([])).toBe(-1);
  });

  it('needs the operator only where an operand is left', () => {
    const versions = ['2=merge:b!5', '1=put:a'].map(versionOf);
    expect(foldVersions(versions, bytes('k'), 5, undefined)?.seq).toBe(1);
    expect(() => foldVersions(versions, bytes('k'), 4, undefined)).toThrow(/merge operator/);
  });

  it('is decided from the first base on', () => {
    expect(decidedFrom(['3=merge:c', '2=put:b'].map(versionOf))).toBe(2);
    expect(decidedFrom(['3=del'].map(versionOf))).toBe(3);
    expect(decidedFrom(['3=merge:c', '2=merge:b'].map(versionOf))).toBe(-1);
  });
});

function rewritten(versions: Version[], barrier: number, nowMs: number | undefined): Version[] {
  const retention = new Retention(barrier, nowMs);
  return versions.flatMap((v, i) => {
    const fate = retention.next(i > 0, v.seq, v.flags, v.expireTs);
    if (isGone(fate)) return [];
    if (fate === KEEP) return [v];
    return [{ ...v, flags: FLAG_TOMBSTONE | FLAG_CREATE, value: bytes(''), expireTs: NO_TS }];
  });
}

function versionText({ seq, flags, value, expireTs }: Version): string {
  if ((flags & FLAG_TOMBSTONE) !== 0) return `${seq}=del`;
  const expiry = expireTs === NO_TS ? '' : `!${expireTs}`;
  return `${seq}=${(flags & FLAG_MERGE) !== 0 ? 'merge' : 'put'}:${text(value)}${expiry}`;
}

const REWRITES = [
  '3=put:c 2=put:b 1=put:a           | barrier all now 5 => 3=put:c 2=put:b 1=put:a (V6)',
  '3=put:c 2=put:b 1=put:a           | barrier newest now 5 => 3=put:c (V6)',
  '3=put:c 2=put:b 1=put:a           | barrier 3 now 5 => 3=put:c (V6)',
  '3=put:c 2=put:b 1=put:a           | barrier 2 now 5 => 3=put:c 2=put:b (V6)',
  '3=put:c 2=del 1=put:a             | barrier 2 now 5 => 3=put:c 2=del (V6: a tombstone is a base)',
  '3=put:c 2=put:b 1=put:a           | barrier 0 now 5 => 3=put:c 2=put:b 1=put:a (V6)',
  '3=merge:c 2=merge:b 1=put:a       | barrier newest now 5 => 3=merge:c 2=merge:b 1=put:a (V6: operands need their base)',
  '4=merge:d 3=put:c 2=merge:b 1=put:a | barrier newest now 5 => 4=merge:d 3=put:c (V6)',
  '3=put:c 2=merge:b 1=put:a         | barrier 2 now 5 => 3=put:c 2=merge:b 1=put:a (V6)',
  '2=put:b!5 1=put:a                 | barrier newest now 5 => 2=del (V7)',
  '2=put:b!6 1=put:a                 | barrier newest now 5 => 2=put:b!6 (V1)',
  '2=put:b!5 1=put:a                 | barrier all now 5 => 2=del 1=put:a (V7)',
  '2=put:b!5 1=put:a!5               | barrier all now - => 2=put:b!5 1=put:a!5 (V7: without a time)',
  '3=merge:c!5 2=merge:b 1=put:a     | barrier newest now 5 => 2=merge:b 1=put:a (V7)',
  '2=merge:b!5 1=del                 | barrier newest now 5 => 1=del (V7)',
  '3=put:c 3=put:x 1=put:a           | barrier all now 5 => 3=put:c 1=put:a (V8)',
  '3=merge:c 3=merge:x 1=put:a       | barrier newest now 5 => 3=merge:c 1=put:a (V8)',
];

describe('a rewrite', () => {
  it.each(REWRITES)('%s', (line) => {
    const { versions, question, answer } = parse(line);
    const [, barrier, now] = /^barrier (\S+) now (\S+)$/.exec(question)!;
    const bound = barrier === 'all' ? RETAIN_ALL : barrier === 'newest' ? RETAIN_NEWEST : Number(barrier);
    const kept = rewritten(versions, bound, now === '-' ? undefined : Number(now));
    expect(kept.map(versionText).join(' ')).toBe(answer);
  });

  it('starts again with each key', () => {
    const retention = new Retention(RETAIN_NEWEST, undefined);
    expect(retention.next(false, 7, 0, NO_TS)).toBe(KEEP);
    expect(retention.next(true, 6, 0, NO_TS)).toBe(SUPERSEDED);
    expect(retention.next(false, 7, 0, NO_TS)).toBe(KEEP);
  });

  it('changes nothing that a reader at or above its barrier sees, whatever it drops', () => {
    // All histories of up to four versions, of which each may have expired.
    const kinds = ['put:x', 'merge:x', 'del', 'put:x!5', 'merge:x!5', 'put:x!9', 'merge:x!9'];
    let cases = 0;
    for (let n = 0; n < kinds.length ** 4; n++) {
      const length = 1 + (n % 4);
      let rest = n;
      const versions = Array.from({ length }, (_, i) => {
        const kind = kinds[rest % kinds.length];
        rest = Math.floor(rest / kinds.length);
        return versionOf(`${length - i}=${kind.replace('x', 'abcd'[length - i - 1])}`);
      });
      for (let barrier = 1; barrier <= length; barrier++) {
        const kept = rewritten(versions, barrier, 5);
        for (let seq = barrier; seq <= length; seq++) {
          for (const now of [5, 9]) {
            const at = (all: Version[]) =>
              seenText(
                all.filter((v) => v.seq <= seq),
                now,
              );
            expect(at(kept)).toBe(at(versions));
            cases++;
          }
        }
      }
    }
    expect(cases).toBeGreaterThan(20_000);
  });
});

/** Parts of a fold, newest first; after the arrow what they become. */
const FOLDS = [
  '3=merge:c 2=merge:b              => 3=merge:bc created 103 (V9: no base, still an operand)',
  '3=merge:c 2=merge:b 1=put:a      => 3=put:abc created 103 (V9)',
  '3=merge:c 1=del                  => 3=put:c created 103 (V9: a tombstone is a base)',
  '3=merge:c!9 2=merge:b!9          => 3=merge:bc!9 created 103 (V9)',
  '3=merge:c!9 2=merge:b!9 1=put:a!9 => 3=put:abc!9 created 103 (V9)',
];

describe('a fold', () => {
  it.each(FOLDS)('%s', (line) => {
    const [, words, answer] = /^(.*?) *=> (.*?) \(.*\)$/.exec(line)!;
    const folded = foldParts(words.split(/ +/).map(versionOf), bytes('k'), APPEND);
    expect(`${versionText(folded)} created ${folded.createTs}`).toBe(answer);
  });

  it.each([
    ['3=merge:c', 3, true],
    ['3=merge:c', 2, false],
    ['3=put:c', 3, false],
    ['3=del', 3, false],
  ])('begins with %s at barrier %i: %s', (word, barrier, begins) => {
    const { flags, seq } = versionOf(word);
    expect(beginsFold(flags, seq, barrier)).toBe(begins);
  });

  it.each([
    ['merge:b', true, false],
    ['merge:b!9', false, true],
    ['merge:b!8', false, false],
    ['put:b!9', false, true],
    ['del', true, false],
  ])('is joined by %s without expiry: %s, with expiry 9: %s', (kind, none, nine) => {
    const { flags, expireTs } = versionOf(`1=${kind}`);
    expect([joinsFold(NO_TS, flags, expireTs), joinsFold(9, flags, expireTs)]).toEqual([none, nine]);
  });

  it('ends at its first base', () => {
    const versions = ['4=merge:c', '3=put:b', '2=merge:a', '1=put:z'].map(versionOf);
    const { flags, value, seq } = foldParts(versions, bytes('k'), APPEND);
    expect([flags, text(value), seq]).toEqual([FLAG_CREATE, 'bc', 4]);
  });

  it('has the times that its parts have', () => {
    const part = (value: string, flags: number) => ({
      flags,
      value: bytes(value),
      seq: 1,
      createTs: NO_TS,
      expireTs: NO_TS,
    });
    expect(foldParts([part('b', FLAG_MERGE), part('a', 0)], bytes('k'), APPEND).flags).toBe(0);
  });
});

describe('after retention', () => {
  it('tombstones go at the bottom, nothing else (V10)', () => {
    expect(['del', 'put:x', 'merge:x'].map((kind) => goesAtBottom(versionOf(`1=${kind}`).flags))).toEqual([
      true,
      false,
      false,
    ]);
  });

  it('a filter is asked about values that no snapshot is below (V11)', () => {
    const asked = (word: string) => isFiltered(versionOf(word).flags, versionOf(word).seq, 2);
    expect(['2=put:x', '3=put:x', '2=del', '2=merge:x'].map(asked)).toEqual([true, false, false, false]);
  });
});
