/**
 * What must hold between the objects of a log, as data: the log on the left, findings after the arrow. An object is `rows A-B/eN` with its
 * first and last sequence number and epoch, `fence/eN`, `empty` or `bad`; `-` is a hole. `rows 3-4/e1 after other` names another object
 * as the one before it, and without `/eN` it has no seal. The manifest has epoch 3; ids begin with 1.
 */
import { describe, expect, it } from 'vitest';
import { InternalError } from '../../../src/common/errors.ts';
import type { Seal } from '../../../src/format/seal.ts';
import { numberObjectId } from '../../../src/format/seal-records.ts';
import type { WalObject, WalReadResult } from '../../../src/lsm/wal/wal-object.ts';
import { checkLog, checkWitness, isEmptied, isToolClaim, type LogContext } from '../../../src/recovery/wal-check.ts';

const OWN = new Uint8Array(16).fill(1);
const CONTEXT: LogContext = {
  lastL0Seq: 0,
  writerEpoch: 3,
  databaseId: OWN,
  witness: undefined,
  writerTail: undefined,
};

/** The digest of each object is its id. */
const digestOf = (id: number) => ({ kind: 'seal' as const, bytes: new Uint8Array(16).fill(id) });

function resultOf(word: string, id: number): WalReadResult | undefined {
  if (word === '-') return undefined;
  const nothing = {
    id,
    findings: [],
    incompatible: undefined,
    readableRows: 0,
    seqs: undefined,
    tail: undefined,
    index: undefined,
  };
  if (word === 'bad') return { ...nothing, object: undefined, seal: undefined };
  const [, kind, min, max, epoch, other] = /^(rows|fence|empty)(?: (\d+)-(\d+))?(?:\/e(\d+))?( after other)?$/.exec(
    word,
  )!;
  const seal =
    epoch === undefined
      ? undefined
      : ({
          kind: kind === 'fence' ? 'fence' : 'wal',
          identity: { databaseId: OWN, objectId: numberObjectId(id), epoch: Number(epoch), role: 'writer' },
          wal: { predecessorKind: 'seal', predecessorDigest: digestOf(other ? 99 : id - 1).bytes },
        } as unknown as Seal);
  const object: WalObject = {
    id,
    kind: kind as WalObject['kind'],
    sizeBytes: kind === 'empty' ? 0 : 100,
    seal,
    blocks: [],
    rowCount: kind === 'rows' ? 1 : 0,
    minSeq: Number(min ?? 0),
    maxSeq: Number(max ?? 0),
    digest: () => digestOf(id),
  };
  return { ...nothing, object, seal };
}

function found(log: string, context: Partial<LogContext> = {}): string {
  const results = log.split(/,\s*/).map((word, i) => resultOf(word, i + 1));
  return checkLog(1, results, { ...CONTEXT, ...context })
    .map((f) => `${f.code}${f.severity === 'error' ? '' : `(${f.severity})`} ${Number(f.object.id)}`)
    .join(', ');
}

describe('a log', () => {
  it.each([
    ['fence/e1, rows 1-2/e1, rows 3-3/e1', ''],
    ['fence/e1, rows 1-2/e1, fence/e2, rows 3-3/e2', ''],
    ['fence/e1, rows 1-2/e1, -, rows 3-3/e1', 'MISSING_OBJECT 3'],
    ['fence/e1, -, -, rows 3-3/e1', 'MISSING_OBJECT 2, MISSING_OBJECT 3'],
    ['fence/e1, rows 5-6/e1, rows 3-4/e1', 'OUT_OF_ORDER 2, OUT_OF_ORDER 3'],
    ['fence/e1, rows 3-5/e1, rows 5-6/e1', 'OUT_OF_ORDER 2, OUT_OF_ORDER 3'],
    // Fences have no numbers: the rows around them are compared.
    ['fence/e1, rows 5-6/e1, fence/e2, rows 3-4/e2', 'OUT_OF_ORDER 2, OUT_OF_ORDER 4'],
    ['fence/e1, rows 1-2/e1, rows 3-3/e1 after other', 'CHAIN_BREAK 2'],
    // What is before a hole, or cannot be read, is not compared with what is after it.
    ['fence/e1, rows 1-2/e1, -, rows 3-3/e1 after other', 'MISSING_OBJECT 3'],
    ['fence/e1, bad, rows 3-3/e1 after other', ''],
    ['fence/e2, rows 1-2/e2, rows 3-3/e1', 'SEQ_RANGE 3'],
    ['fence/e1, rows 1-2, rows 3-3', ''],
    ['empty, rows 1-2, rows 3-3', ''],
  ])('%s: %s', (log, expected) => {
    expect(found(log)).toBe(expected);
  });

  it('with more empty objects than epochs held rows in one of them', () => {
    expect(found('fence/e1, empty, empty, rows 5-5/e2', { writerEpoch: 2 })).toContain('TRUNCATED');
  });

  it('is checked id by id: a result of another object is a fault of this program', () => {
    const results = [resultOf('fence/e1', 1), resultOf('rows 1-1/e1', 3)];
    expect(() => checkLog(1, results, CONTEXT)).toThrow(InternalError);
  });
});

describe('an object that a manifest names', () => {
  const { object } = resultOf('rows 1-2/e1', 4)!;
  it('is the one that was named, or was replaced', () => {
    const witness = { id: 4, lastSeq: 2, digest: digestOf(4).bytes };
    expect(checkWitness(object!, witness)).toEqual([]);
    expect(checkWitness(object!, undefined)).toEqual([]);
    expect(checkWitness(object!, { ...witness, id: 5, digest: digestOf(9).bytes })).toEqual([]);
    const [finding] = checkWitness(object!, { ...witness, digest: digestOf(9).bytes });
    expect(finding).toMatchObject({ code: 'CHAIN_BREAK', origin: 'replaced', object: { role: 'wal' } });
  });
});

describe('a finding about zero bytes', () => {
  it('says that rows were lost only where it is an error', () => {
    const findings = checkLog(
      1,
      ['fence/e1', 'empty', 'empty', 'rows 5-5/e2'].map((w, i) => resultOf(w, i + 1)),
      {
        ...CONTEXT,
        writerEpoch: 2,
      },
    );
    expect(findings.length).toBeGreaterThan(0);
    for (const finding of findings) {
      expect(isEmptied(finding)).toBe(finding.severity === 'error');
      expect(isEmptied({ ...finding, severity: 'note' })).toBe(false);
    }
  });
});

describe('the claim of a repair', () => {
  it('is one of a tool that did not end', () => {
    const claim = { identity: { role: 'tool' }, owner: { hostPid: 'h:1' } } as unknown as Seal;
    expect(isToolClaim(claim)).toBe(true);
    expect(isToolClaim({ ...claim, repair: {} } as unknown as Seal)).toBe(false);
    expect(isToolClaim({ ...claim, identity: { role: 'writer' } } as unknown as Seal)).toBe(false);
    expect(isToolClaim(undefined)).toBe(false);
  });
});
