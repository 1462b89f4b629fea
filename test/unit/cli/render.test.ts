/** What reports look like: the texts as they stand, without colour and 80 characters wide. */
import { describe, expect, it } from 'vitest';
import { findingsText, findingText } from '../../../src/cli/finding-text.ts';
import { manifestText } from '../../../src/cli/manifest-text.ts';
import { keyMap } from '../../../src/cli/maps.ts';
import { COLOUR, PLAIN } from '../../../src/cli/paint.ts';
import { repairText } from '../../../src/cli/repair-text.ts';
import { checkSummaryText, sstText } from '../../../src/cli/sst-text.ts';
import { ledgerText, probeText, quarantineText, verifyText } from '../../../src/cli/verify-text.ts';
import { walText } from '../../../src/cli/wal-text.ts';
import type { View } from '../../../src/cli/words.ts';
import {
  checkSummary,
  damagedLog,
  damagedTable,
  key,
  ledgerEntries,
  manifestReport,
  quarantineEntries,
  repairReport,
  storeProfile,
  tableFinding,
  verifyReport,
  walFinding,
  walObject,
} from '../../support/report-samples.ts';

const VIEW: View = { paint: PLAIN, columns: 80, redactKeys: false, location: 'file:///db' };
const shown = (lines: readonly string[]) => `\n${lines.join('\n')}\n`;
const ESCAPE = String.fromCharCode(27);

describe('a finding', () => {
  it('says where, what it affects, and what to run next', () => {
    expect(shown(findingText(tableFinding(), VIEW))).toMatchInlineSnapshot(`
      "
      error BAD_CHECKSUM compacted/01JC0000000000000000000000.sst
        where     block 1, 4,096 bytes from 4,100
        affects   keys key/0136 to key/0269
        expected  crc32:00112233
        found     crc32:44556677
        damage    in the store; read 2 times, always the same
        remedy    can be undone exactly
        advice    Other data stays readable.
        next      shaledb sst repair file:///db 01JC0000000000000000000000  (loses nothing)
      "
    `);
  });
  it('without a command of its own gets one that changes nothing yet', () => {
    expect(shown(findingText(walFinding(), VIEW))).toMatchInlineSnapshot(`
      "
      error MISSING_OBJECT wal/00000000000000000003.sst
        where     the object
        affects   seqs 12 to 14
        remedy    cannot be recovered from this object
        advice    Keep a copy of wal/00000000000000000003.sst before changing
                  anything; other data stays readable.
        next      shaledb wal repair file:///db  (shows what it would lose before it changes anything)
      "
    `);
  });
  it('of an object that was cut shows the sizes', () => {
    const object = {
      role: 'table',
      path: 'compacted/x.sst',
      id: 'x',
      sealed: true,
      size: 10,
      expectedSize: 20_000,
    } as const;
    const at = { unit: 'footer', offset: 0, length: 10 } as const;
    expect(findingText(tableFinding({ code: 'TRUNCATED', object, at }), VIEW).join('\n')).toContain(
      '10 B of 19.5 KiB are there',
    );
  });
  it('is one of the first 200, errors before notes', () => {
    const many = Array.from({ length: 250 }, () => tableFinding({ severity: 'note' }));
    const lines = findingsText([...many, tableFinding()], VIEW);
    expect(lines[1]).toContain('error BAD_CHECKSUM');
    expect(lines.at(-1)).toBe('... and 51 findings more; --json lists all.');
  });
});

describe('a table', () => {
  it('is shown as a map of the file and of its keys', () => {
    expect(shown(sstText(damagedTable(), VIEW, false))).toMatchInlineSnapshot(`
      "
      compacted/01JC0000000000000000000000.sst

      size       17.5 KiB
      rows       500
      first key  key/0000
      last key   key/0499
      codec      none
      filter     legacy, 5,000 bits, 6 probes, 0.82 % false positives expected
      seal       good, 500 bytes

      file    ================XXXXXXXXXXXXXXXXX================================ffffiSS
              0                                                                 17,900
              = data, f filter, i index, s stats, S seal, n info, F footer, X damaged, ? doubtful, . unknown

              key/0000                                                        key/0499
      rows    ------------------XXXXXXXXXXXXXXXXXX------------------------------------

      block  offset  stored    raw  rows  first key  last key  checksum              diagnosis
          1   4,100   4,100  4,096   125  key/0136   key/0235  bad, 1 row check too  one bit at 5,000: 0x61 was 0x60

      error BAD_CHECKSUM compacted/01JC0000000000000000000000.sst
        where     block 1, 4,096 bytes from 4,100
        affects   keys key/0136 to key/0269
        expected  crc32:00112233
        found     crc32:44556677
        damage    in the store; read 2 times, always the same
        remedy    can be undone exactly
        advice    Other data stays readable.
        next      shaledb sst repair file:///db 01JC0000000000000000000000  (loses nothing)

      4 blocks, 1 damaged. 1 error.
      "
    `);
  });
  it('looks the same in colour but for the colours', () => {
    const coloured = sstText(damagedTable(), { ...VIEW, paint: COLOUR }, true).join('\n');
    expect(coloured).toContain(ESCAPE);
    expect(coloured.replaceAll(new RegExp(`${ESCAPE}\\[\\d+m`, 'g'), '')).toBe(
      sstText(damagedTable(), VIEW, true).join('\n'),
    );
  });
  it('shows damage of one byte in a gigabyte', () => {
    const report = damagedTable();
    report.size = 2 ** 30;
    report.findings = [tableFinding({ at: { unit: 'block', index: 9, offset: 2 ** 29, length: 1 } })];
    expect(sstText(report, VIEW, false).find((l) => l.startsWith('file'))).toMatch(/X/);
  });
  it('of which nothing is known but its size still has a map', () => {
    const report = { schemaVersion: 1, size: 40, sealed: false, findings: [], blocks: [] } as const;
    expect(sstText({ ...report, findings: [], blocks: [] }, VIEW, false).find((l) => l.startsWith('file'))).toMatch(
      /\.F/,
    );
  });
  it('keeps keys to itself where they are to be redacted', () => {
    const text = sstText(damagedTable(), { ...VIEW, redactKeys: true }, true).join('\n');
    expect(text).not.toContain('key/0');
    expect(text).toContain('<8 bytes>');
  });
});

describe('the log', () => {
  it('is one character for each object, and a line for those that matter', () => {
    expect(shown(walText(damagedLog(), VIEW, false))).toMatchInlineSnapshot(`
      "
      log     |=_=
              ids 1 to 4; = good, | fence, X damaged, _ missing, ? empty, ~ foreign, o obsolete

      id  state              size  epoch  seqs    rows  batches  chain    replayed  also in
       3  missing, unsealed            1  12..15     0        0  unknown  yes
      3 healthy objects hidden (--all shows all).

      error MISSING_OBJECT wal/00000000000000000003.sst
        where     the object
        affects   seqs 12 to 14
        remedy    cannot be recovered from this object
        advice    Keep a copy of wal/00000000000000000003.sst before changing
                  anything; other data stays readable.
        next      shaledb wal repair file:///db  (shows what it would lose before it changes anything)

      4 objects, 3,702 B, 8 rows; an opening replays 4. 1 error.

      Not looked at (shaledb doctor file:///db does)
        tables
        manifests, but for the newest one that is good
      "
    `);
  });
  it('that is long shows a hole of one object in a hundred thousand', () => {
    const log = Array.from({ length: 100_000 }, (_, i) => walObject(BigInt(i), i === 777 ? { state: 'missing' } : {}));
    expect(walText(log, VIEW, false)[0]).toMatch(/^log {5}=*_=*$/);
  });
  it('that is empty says so', () => {
    expect(walText([], VIEW, false)).toEqual(['The log is empty.']);
  });
});

it('a manifest is shown with its tables in the key space', () => {
  expect(shown(manifestText(manifestReport(), VIEW))).toMatchInlineSnapshot(`
    "
    manifest/00000000000000000012.manifest

    id        12
    size      800 B
    seal      good
    chain     ok
    encoding  canonical
    epochs    writer 3, compactor 1
    log       replayed from object 42 on
    tables    1 in level 0, 1 in 1 run
    last seq  1,500 in tables

                      key/0000                                              key/0999
    L0 ..00000000     -------------------------------
    run 0 ..00000000                 -----------------------------------------------

    Changed since the manifest before
      table 01JC0000000000000000000000 was added to level 0

    Nothing found.

    Not looked at (shaledb doctor file:///db does)
      what is in the tables and in the log that it names
    "
  `);
});

it.each([
  [{}, 'objects     2, 2 of them sealed'],
  [{ sealed: 1 }, 'objects     2, 1 of them sealed'],
  [{ sealed: 1, missing: 1 }, 'objects     2, 1 of them sealed, 1 missing'],
])('a check counts tables that are missing by themselves', (counts, line) => {
  expect(checkSummaryText(checkSummary({ ...counts, cursor: 'abc' }), VIEW)).toContainEqual(
    expect.stringContaining(line),
  );
});

it('a check ends with a verdict', () => {
  expect(shown(checkSummaryText(checkSummary({ cursor: 'abc' }), VIEW))).toMatchInlineSnapshot(`
    "
    Corrupt
    objects     2, 2 of them sealed
    findings    BAD_CHECKSUM 1
    cost        8 requests, 39.1 KiB, 40 ms
    go on with  --resume-from abc

    Not looked at (shaledb doctor file:///db does)
      what is in the log: only whether its objects are there
    "
  `);
});

describe('a repair', () => {
  it('that was only planned says what it would do and how to do exactly that', () => {
    const nextSteps = ['Stop every writer of shaledb first.', 'Run it again with --apply --plan 5f3a09c1.'];
    const text = repairText(repairReport({ nextSteps }), VIEW, false, 'shaledb sst repair file:///db 01JC');
    expect(shown(text)).toMatchInlineSnapshot(`
      "
      Dry run: nothing was changed.

      outcome  salvaged: what can be proven is kept, the rest is lost
      rows     496 of 500 recovered, 4 lost
      repair   r-0123456789abcdef01234567
      cost     12 requests, 85 ms

      Lost keys (outer bounds: what is lost is within them)
        keys key/0140 to key/0143

      Lost sequence numbers (outer bounds: what is lost is within them)
        seqs 141 to 144

      Copies would be made first
        original                                      size  copy
        compacted/01JC0000000000000000000000.sst  17.5 KiB  shale/quarantine/r-0123456789abcdef01234567/compacted/01JC0000000000000000000000.sst

      Objects would be written
        compacted/01JD0000000000000000000000.sst

      error BAD_CHECKSUM compacted/01JC0000000000000000000000.sst
        where     block 1, 4,096 bytes from 4,100
        affects   keys key/0136 to key/0269
        expected  crc32:00112233
        found     crc32:44556677
        damage    in the store; read 2 times, always the same
        remedy    can be undone exactly

      What to know first
        Stop every writer of shaledb first.

      To do exactly this
        shaledb sst repair file:///db 01JC --apply --plan 5f3a09c1
      "
    `);
  });
  it('that was done says what was lost, and warns no more', () => {
    const done = repairReport({
      applied: true,
      manifestId: 13n,
      ledgerIds: ['f-0123456789abcdef'],
      nextSteps: ['shaledb doctor LOCATION'],
    });
    const text = shown(repairText(done, VIEW, true, 'shaledb sst repair file:///db 01JC'));
    expect(text).toContain('\nRepaired.\n');
    expect(text).not.toContain('would be');
    expect(text).not.toContain('--apply');
    expect(text).toContain('\nNext\n  shaledb doctor file:///db\n');
  });
  it('that was refused says that nothing was changed', () => {
    const text = repairText(repairReport({ outcome: 'unrecoverable' }), VIEW, true, 'x');
    expect(text[0]).toBe('Not repaired. Nothing was changed.');
  });
  it('that was done before, and one with nothing to do, say so', () => {
    expect(repairText(repairReport({ applied: true, alreadyDone: true }), VIEW, true, 'x')[0]).toContain('done before');
    const { planHash: _, ...nothing } = repairReport({ outcome: 'clean', before: [] });
    const clean = repairText(nothing, VIEW, false, 'x').join('\n');
    expect(clean).toMatch(/^Nothing was changed\./);
    expect(clean).not.toContain('To do exactly this');
  });
});

it('a verdict comes with what to do next', () => {
  expect(shown(verifyText(verifyReport({ findings: [] }), VIEW, []))).toMatchInlineSnapshot(`
    "
    Corrupt: some rows may be unreadable or lost.

    manifests  3 checked, newest 12
    log        4 objects, 8 rows, 0 damaged, 1 missing
    tables     2, 2 of them sealed, 39.1 KiB read
    ledger     1 open loss
    store      not probed (--probe does)
    cost       20 requests, 2.1 s

    Next
      shaledb wal repair file:///db
      shaledb sst repair file:///db 01JC0000000000000000000000
    "
  `);
});

it('the ledger lists losses with the keys they concern', () => {
  expect(shown(ledgerText(ledgerEntries(), VIEW))).toMatchInlineSnapshot(`
    "
    2 recorded losses, 1 open.

    open f-0123456789abcdef compacted/01JC0000000000000000000000.sst
      when    2026-11-21T12:00:00.000Z
      level   l0
      rows    4 rows
      lost    within keys key/0140 to key/0143; seqs 141 to 144
      repair  r-0123456789abcdef01234567
      next    shaledb damage ack file:///db f-0123456789abcdef --note "why it is known and accepted"

    acknowledged f-fedcba9876543210 compacted/01JC0000000000000000000000.sst
      when    2026-11-21T12:00:00.000Z
      level   l0
      rows    4 rows
      lost    within keys key/0140 to key/0143; seqs 141 to 144
      repair  r-0123456789abcdef01234567
      note    restored elsewhere
    "
  `);
  expect(ledgerText([], VIEW)).toEqual(['No losses are recorded.']);
  const bound = { ...ledgerEntries()[0], level: 'wal' as const, exact: false };
  expect(shown(ledgerText([bound], VIEW))).toContain('at least 4 rows');
});

it('the quarantine lists what is kept and who needs it', () => {
  expect(shown(quarantineText(quarantineEntries(), VIEW))).toMatchInlineSnapshot(`
    "
    repair                      stored (UTC)             size  original                                  needed by
    r-0123456789abcdef01234567  2026-11-20 09:53:38  17.5 KiB  compacted/01JC0000000000000000000000.sst  f-0123456789abcdef

    1 copy, 17.5 KiB.
    "
  `);
  expect(quarantineText([], VIEW)).toEqual(['Nothing is in quarantine.']);
});

it('a store that ignores conditions is not suitable', () => {
  const profile = storeProfile({
    conditionalCreate: false,
    ifMatch: 'ignored',
    problems: ['If-None-Match is ignored.'],
  });
  expect(shown(probeText(profile, VIEW))).toMatchInlineSnapshot(`
    "
    This store is not suitable for writing.

    no   creates only what is absent
    yes  reads what was just written
    yes  lists what was just written
    yes  does not list what was just deleted
    yes  reads parts of objects
    yes  reads ends of objects
    yes  keeps metadata
    yes  gives the time
    no   replaces only a version that is named (If-Match: ignored)
         If-None-Match is ignored.
    "
  `);
});

it('what a store need not have is no problem of it', () => {
  const text = probeText(storeProfile({ metadata: false }), VIEW);
  expect(text).toContain('no   keeps metadata (not needed)');
  expect(text[0]).toBe('This store is suitable.');
});

it('nothing that a report shows can steer the terminal', () => {
  const evil = `${ESCAPE}[2J`;
  const object = { role: 'table', path: evil, id: evil, sealed: true } as const;
  const hint = { summary: evil, commands: [evil], docs: '', lossIfRepaired: 'none' } as const;
  const finding = tableFinding({
    object,
    hint: { ...hint, commands: [...hint.commands] },
    expected: evil,
    found: evil,
  });
  const range = { gte: key(evil), lte: key(`${evil}x`) };
  const texts = [
    repairText(
      repairReport({
        before: [finding],
        lostKeys: [range],
        newObjects: [evil],
        nextSteps: [evil],
        ledgerIds: [evil],
      }),
      VIEW,
      false,
      'x',
    ),
    sstText({ ...damagedTable(), path: evil, findings: [finding] }, VIEW, true),
    manifestText({ ...manifestReport(), path: evil, changes: [evil], findings: [finding] }, VIEW),
    ledgerText([{ ...ledgerEntries()[1], object: evil, note: evil, keys: [range] }], VIEW),
    quarantineText([{ ...quarantineEntries()[0], from: evil, neededBy: [evil] }], VIEW),
    walText([walObject(1n, { findings: [finding] })], VIEW, true),
  ];
  expect(texts.flat().join('\n')).not.toContain(ESCAPE);
});

describe('a map of the keys', () => {
  const bytes = (text: string) => new TextEncoder().encode(text);
  const mapOf = (from: string, to: string, first: string, last: string) => {
    const damaged = [{ gte: bytes(first), lte: bytes(last) }];
    const extent = { gte: bytes(from), lte: bytes(to) };
    const [, strip] = keyMap([{ label: 'keys', extent, damaged }], { ...VIEW, columns: 108 });
    return [strip.indexOf('X') - 8, strip.lastIndexOf('X') - 8];
  };

  it('shows damage of text keys where it is, within a twentieth of the line', () => {
    // 96 columns; the true places are the shares of the rows.
    for (const [first, last] of [
      [106, 158],
      [1000, 1050],
      [1900, 1999],
    ]) {
      const name = (row: number) => `user/${String(row).padStart(4, '0')}`;
      const [from, to] = mapOf(name(0), name(1999), name(first), name(last));
      expect(Math.abs(from - (first / 2000) * 96), `from ${first}`).toBeLessThan(5);
      expect(Math.abs(to - (last / 2000) * 96), `to ${last}`).toBeLessThan(5);
    }
    const [from, to] = mapOf('a', 'z', 'm', 'n');
    expect([from, to].every((at) => at > 40 && at < 56)).toBe(true);
  });

  it('goes on to its right edge where a table or its damage has no upper end, and says so', () => {
    const open = { label: 'a', extent: { gte: bytes('a'), lte: undefined }, damaged: [] };
    const damaged = [{ gte: bytes('n'), lte: undefined }];
    const closed = { label: 'b', extent: { gte: bytes('m'), lte: bytes('z') }, damaged };
    const [edges, first, second] = keyMap([open, closed], { ...VIEW, columns: 108 });
    expect(edges).toMatch(/^ {8}a +no upper end$/);
    expect(first.slice(8)).toBe('-'.repeat(first.length - 8));
    expect([second.length, second.endsWith('X')]).toEqual([first.length, true]);
    const one = { label: 'a', extent: { gte: bytes('a'), lte: undefined }, damaged };
    expect(keyMap([one], { ...VIEW, columns: 108 })[1].endsWith('X')).toBe(true);
  });
});

it('a verdict names each command once under Next, however findings say it', () => {
  const nextSteps = ['shaledb manifest repair LOCATION', `shaledb manifest repair ${VIEW.location}`];
  const text = verifyText(verifyReport({ nextSteps, findings: [] }), VIEW, []);
  expect(text.filter((line) => line.includes('shaledb manifest repair'))).toHaveLength(1);
});

it('findings are as wide as the output', () => {
  for (const columns of [60, 80, 120]) {
    const finding = { ...walFinding(), hint: { ...walFinding().hint, summary: 'word '.repeat(60).trim() } };
    const lines = findingText(finding, { ...VIEW, columns }, 'with-next').filter((line) => !line.includes('shaledb'));
    const advice = lines.filter((line) => line.includes('word'));
    expect(Math.max(...advice.map((line) => line.length))).toBeLessThanOrEqual(columns);
    expect(advice.join(' ').match(/word/g)).toHaveLength(60);
  }
});
