/**
 * Whether a log is gone, as data: one database per line. Before the bar what the newest manifest says, with `RN` for its replay point,
 * `named N` for the last object it names, `seal N` for the one in its seal, `closed` for a clean close, `clone` for parents, `l0` for a
 * table of its own in level 0. After the bar: `there` if an object at or after the replay point is there, and `was RN` for the replay
 * point of the oldest manifest. After the arrow: the verdict, and its rule.
 */
import { describe, expect, it } from 'vitest';
import type { Manifest } from '../../../src/format/manifest-types.ts';
import type { LoadedManifest } from '../../../src/lsm/manifest/manifest-store.ts';
import { classifyLogTraces, LOG_TRACE_RULES, type LogTraces, tracesOf } from '../../../src/recovery/vanished-log.ts';

const WORDS = /^(?:R\d+|named \d+|seal \d+|closed|clone|l0|there|was R\d+)(?: (?=\S))?/;

function tracesIn(text: string): LogTraces {
  const words: string[] = [];
  for (let rest = text.replace('|', '').replace(/ +/g, ' ').trim(); rest !== ''; ) {
    const [word] = WORDS.exec(rest)!;
    words.push(word.trim());
    rest = rest.slice(word.length);
  }
  const number = (of: RegExp) => words.map((word) => of.exec(word)).find((match) => match !== null)?.[1];
  const sealedId = Number(number(/^seal (\d+)$/) ?? 0);
  const older = number(/^was R(\d+)$/);
  return {
    replayAfterWalId: Number(number(/^R(\d+)$/)),
    isAnyThere: words.includes('there'),
    namedId: Math.max(sealedId, Number(number(/^named (\d+)$/) ?? 0)),
    sealedId,
    isCleanClose: words.includes('closed'),
    hasParents: words.includes('clone'),
    hasOwnL0: words.includes('l0'),
    olderReplayAfter: older === undefined ? undefined : Number(older),
  };
}

const CASES = `
  sound databases, with a log
  R8 named 8 seal 8 l0 | there                 => there (V1)
  R8 named 8 l0 | there was R0                 => there (V1)
  R0 | there                                   => there (V1)
  R4 named 4 clone l0 | there was R4           => there (V1)

  the manifest names what is missing, object by object
  R3 named 4 l0 |                              => there (V2)
  R0 named 4 |                                 => there (V2)
  R8 named 8 seal 9 l0 |                       => there (V2)
  R4 named 6 clone | was R4                    => there (V2)
  R8 named 9 seal 9 closed l0 |                => there (V2)

  nothing was ever flushed: created, claimed, fenced and lost, or the log of SlateDB 0.12 switched off
  R0 |                                         => unproven (V3)
  R0 l0 |                                      => unproven (V3)
  R0 l0 | was R0                               => unproven (V3)
  R0 clone l0 |                                => unproven (V3)

  closed by ShaleDB: all rows are in tables
  R12 named 12 seal 12 closed l0 |             => there (V4)
  R12 named 12 seal 12 closed | was R0         => there (V4)
  R4 named 4 seal 4 closed clone |             => there (V4)

  a writer of ours has seen an object
  R8 named 8 seal 8 l0 |                       => gone (V5)
  R8 named 8 seal 8 |                          => gone (V5)
  R8 named 8 seal 8 clone |                    => gone (V5)
  R8 named 8 seal 7 l0 |                       => gone (V5)
  R8 named 8 seal 8 | was R8                   => gone (V5)

  the replay point has moved
  R3 named 3 | was R0                          => gone (V6)
  R3 named 3 l0 | was R1                       => gone (V6)
  R3 named 2 | was R2                          => gone (V6)
  R6 named 6 clone l0 | was R4                 => gone (V6)
  R6 named 6 clone | was R4                    => gone (V6)
  R6 closed l0 | was R4                        => gone (V6)

  a writer has flushed
  R3 named 3 l0 |                              => gone (V7)
  R3 named 3 l0 | was R3                       => gone (V7)
  R3 closed l0 |                               => gone (V7)

  a clone, or what may be one
  R4 named 4 clone |                           => unproven (V8)
  R4 named 4 clone | was R4                    => unproven (V8)
  R4 named 4 clone l0 | was R4                 => unproven (V8)
  R4 named 4 clone l0 |                        => unproven (V8)
  R4 named 4 |                                 => unproven (V8)
  R4 named 4 | was R4                          => unproven (V8)
  R4 named 4 | was R5                          => unproven (V8)
`;

describe('a log of which nothing is there at or after the replay point', () => {
  const lines = CASES.split('\n').flatMap((line) => {
    const [traces, answer] = line.split('=>').map((part) => part.trim());
    return answer === undefined ? [] : [{ traces: traces!, answer }];
  });

  it.each(lines)('$traces => $answer', ({ traces, answer }) => {
    const { verdict, rule } = classifyLogTraces(tracesIn(traces));
    expect(`${verdict} (${rule})`).toBe(answer);
  });

  it('is judged by rules each of which decides some line', () => {
    const used = new Set(lines.map(({ answer }) => /\((V\d)\)/.exec(answer)![1]));
    expect([...used].sort()).toEqual(LOG_TRACE_RULES.map(({ name }) => name));
  });
});

describe('what a manifest says of its log', () => {
  const view = (id: string) => ({ viewId: id, table: { id }, visibleRange: undefined });
  const manifestOf = (more: object): LoadedManifest => ({
    id: 3,
    manifest: {
      replayAfterWalId: 4,
      walIdLastSeen: 5,
      externalDbs: [],
      l0: [],
      runs: [],
      segments: undefined,
      ...more,
    } as unknown as Manifest,
    seal: undefined,
    digest: new Uint8Array(16),
    sizeBytes: 1,
  });
  const parent = { path: 'parent', tableIds: ['A', 'B'] };

  it('has no seal, parents or tables of its own where there are none', () => {
    expect(tracesOf(manifestOf({}), true)).toEqual({
      replayAfterWalId: 4,
      isAnyThere: true,
      namedId: 5,
      sealedId: 0,
      isCleanClose: false,
      hasParents: false,
      hasOwnL0: false,
      olderReplayAfter: undefined,
    });
  });

  it('takes the last object and the clean close from a seal', () => {
    const seal = { manifest: { walTail: { id: 7 }, isCleanClose: true } } as LoadedManifest['seal'];
    const traces = tracesOf({ ...manifestOf({}), seal }, false);
    expect(traces).toMatchObject({ namedId: 7, sealedId: 7, isCleanClose: true });
  });

  it('counts tables in level 0 that are of no parent, in any tree, and none of runs', () => {
    const ownL0 = (more: object) => tracesOf(manifestOf(more), false).hasOwnL0;
    expect(ownL0({ l0: [view('C')] })).toBe(true);
    expect(ownL0({ l0: [view('A'), view('B')], externalDbs: [parent] })).toBe(false);
    expect(ownL0({ l0: [view('C'), view('B')], externalDbs: [parent] })).toBe(true);
    expect(ownL0({ segments: [{ prefix: new Uint8Array(1), l0: [view('C')], runs: [] }] })).toBe(true);
    expect(ownL0({ runs: [{ id: 1, views: [view('C')] }] })).toBe(false);
    expect(tracesOf(manifestOf({ externalDbs: [parent] }), false).hasParents).toBe(true);
  });
});
