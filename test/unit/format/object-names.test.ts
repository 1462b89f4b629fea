/** Names of objects: built, read back, and everything that is none. */
import { describe, expect, it } from 'vitest';
import type { Ulid } from '../../../src/common/ulid.ts';
import {
  compactionsPath,
  isBoundaryPath,
  isDatabasePath,
  isRepairId,
  ledgerPath,
  manifestPath,
  outsizedName,
  PROBE_PREFIX,
  parseCompactionsPath,
  parseIdText,
  parseLedgerPath,
  parseManifestPath,
  parseQuarantinePath,
  parseRepairFilePath,
  parseTablePath,
  parseWalPath,
  quarantinePath,
  repairFilePath,
  roleOfPath,
  STORE_PROFILE_PATH,
  tableIdOfName,
  tablePath,
  walPath,
} from '../../../src/format/object-names.ts';
import { goldenFixtures } from '../../support/golden-fixtures.ts';

const ULID = '01M7W60ETH9EVAJJ6RDPRXZ6HN' as Ulid;

describe('object names', () => {
  it('are padded to twenty digits', () => {
    expect(manifestPath(7)).toBe('manifest/00000000000000000007.manifest');
    expect(walPath(2 ** 53 - 1)).toBe('wal/00009007199254740991.sst');
    expect(compactionsPath(10)).toBe('compactions/00000000000000000010.compactions');
    expect(tablePath(ULID)).toBe(`compacted/${ULID}.sst`);
  });

  it('of every fixture object are read and built back', () => {
    for (const fixture of goldenFixtures()) {
      const roots = ['db/', 'parent/', 'c1/', 'c2/', 'union/', 'main/db/', 'wal/db/'];
      for (const { path } of fixture.objects) {
        const name = path.slice(roots.find((root) => path.startsWith(root))!.length);
        const role = roleOfPath(name);
        if (role === 'manifest') expect(manifestPath(parseManifestPath(name)!)).toBe(name);
        else if (role === 'wal') expect(walPath(parseWalPath(name)!)).toBe(name);
        else if (role === 'table') expect(tablePath(parseTablePath(name)!)).toBe(name);
        else if (role === 'compactions') expect(compactionsPath(parseCompactionsPath(name)!)).toBe(name);
        else expect(role).toBe('boundary');
      }
    }
  });

  it.each([
    'wal/9.sst',
    'wal/0000000000000000009.sst',
    'wal/000000000000000000009.sst',
    'wal/00000000000000000009.sst.tmp',
    'wal/00000000000000000009.manifest',
    'wal/0000000000000000000x.sst',
    'wal/-0000000000000000009.sst',
    'wal/ 0000000000000000009.sst',
    'wal/99999999999999999999.sst',
    'wal/a/00000000000000000009.sst',
    'WAL/00000000000000000009.sst',
    'wal/00000000000000000009.SST',
    'walx/00000000000000000009.sst',
    'x/wal/00000000000000000009.sst',
    'wal/.sst',
    'wal/',
  ])('of another form are foreign: %s', (path) => {
    expect(parseWalPath(path)).toBeUndefined();
  });

  it('of manifests need the exact extension', () => {
    expect(parseManifestPath('manifest/00000000000000000001.manifest2')).toBeUndefined();
    expect(parseManifestPath('manifest/00000000000000000001.sst')).toBeUndefined();
    expect(parseCompactionsPath('compactions/00000000000000000001.manifest')).toBeUndefined();
  });

  it('of tables are upper-case ULIDs', () => {
    expect(parseTablePath(tablePath(ULID))).toBe(ULID);
    expect(parseTablePath(`compacted/${ULID.toLowerCase()}.sst`)).toBeUndefined();
    expect(parseTablePath(`compacted/${ULID.slice(1)}.sst`)).toBeUndefined();
    expect(parseTablePath(`compacted/8${ULID.slice(1)}.sst`)).toBeUndefined();
    expect(parseTablePath(`compacted/${ULID}.sst.tmp`)).toBeUndefined();
    expect(parseTablePath(`Compacted/${ULID}.sst`)).toBeUndefined();
    expect(parseTablePath(`compacted/${ULID}.SST`)).toBeUndefined();
  });

  const REPAIR = 'r-0123456789abcdef01234567';

  it('of sidecars are read and built back', () => {
    expect(ledgerPath(7)).toBe('shale/damage/00000000000000000007');
    expect(parseLedgerPath(ledgerPath(7))).toBe(7);
    expect(repairFilePath(REPAIR, 'plan', 2)).toBe(`shale/repairs/${REPAIR}/plan-2`);
    expect(parseRepairFilePath(repairFilePath(REPAIR, 'report', 12))).toEqual({
      repairId: REPAIR,
      kind: 'report',
      number: 12,
    });
    expect(quarantinePath(REPAIR, walPath(7))).toBe(`shale/quarantine/${REPAIR}/wal/00000000000000000007.sst`);
    expect(parseQuarantinePath(quarantinePath(REPAIR, walPath(7)))).toEqual({ repairId: REPAIR, original: walPath(7) });
    expect(isRepairId(REPAIR)).toBe(true);
  });

  it.each([
    'shale/damage/7',
    'shale/damage/00000000000000000007x',
    `shale/repairs/${REPAIR}/plan-0`,
    `shale/repairs/${REPAIR}/plan-1.tmp`,
    `shale/repairs/${REPAIR}/notes-1`,
    `shale/repairs/${REPAIR.toUpperCase()}/plan-1`,
    `shale/quarantine/${REPAIR}/`,
    'shale/quarantine/mine/wal/1',
    'shale/identity2',
    'shale/x',
  ])('of sidecars of another form are foreign: %s', (path) => {
    expect(parseLedgerPath(path)).toBeUndefined();
    expect(parseRepairFilePath(path)).toBeUndefined();
    expect(parseQuarantinePath(path)).toBeUndefined();
    expect(isRepairId(path)).toBe(false);
    expect(isDatabasePath(path)).toBe(false);
  });

  it('of a database are known, and not those that an opening gives before it creates one', () => {
    const known = [
      ...[manifestPath(1), walPath(1), tablePath(ULID), compactionsPath(1)],
      ...['gc/manifest.boundary', 'gc/compactions.boundary', 'shale/identity'],
      ...[ledgerPath(1), repairFilePath(REPAIR, 'plan', 1), quarantinePath(REPAIR, 'x')],
    ];
    expect(known.filter((path) => !isDatabasePath(path))).toEqual([]);
    expect([STORE_PROFILE_PATH, `${PROBE_PREFIX}x/created`, 'gc/x.boundary'].filter(isDatabasePath)).toEqual([]);
    expect(['gc/manifest.boundary', 'gc/compactions.boundary', 'gc/wal.boundary'].map(isBoundaryPath)).toEqual([
      true,
      true,
      false,
    ]);
  });

  it('of tables are found in any path', () => {
    const names = [ULID, `${ULID}.sst`, tablePath(ULID), `/tmp/copies/${ULID}.sst`];
    expect(names.map(tableIdOfName)).toEqual(Array(4).fill(ULID));
    expect(['x', `${ULID}.sst.sst`, `${ULID}/x`, ''].map(tableIdOfName)).toEqual(Array(4).fill(undefined));
  });

  it('with an id above 2^53 - 1 are not ignored', () => {
    expect(() => parseIdText('00009007199254740992')).toThrow(expect.objectContaining({ code: 'FORMAT_TOO_NEW' }));
    const path = 'compactions/18446744073709551615.compactions';
    expect(() => parseCompactionsPath(path)).toThrow(
      expect.objectContaining({ message: expect.stringContaining(path), details: { id: path.slice(12, 32), path } }),
    );
    expect([isDatabasePath(path), outsizedName(path)?.code, outsizedName('wal/00000000000000000001.sst')]).toEqual([
      true,
      'FORMAT_TOO_NEW',
      undefined,
    ]);
    expect(() => parseIdText('18446744073709551615')).toThrow(expect.objectContaining({ code: 'FORMAT_TOO_NEW' }));
    expect(parseIdText('18446744073709551616')).toBeUndefined();
  });

  it('show the role by directory', () => {
    const roles = ['manifest/x', 'wal/', 'compacted/y', 'compactions/z', 'gc/manifest.boundary', 'shale/damage/1'];
    expect(roles.map(roleOfPath)).toEqual(['manifest', 'wal', 'table', 'compactions', 'boundary', 'sidecar']);
    expect(['', 'x', '.deleting', 'manifests/x', 'compacted'].map(roleOfPath)).toEqual(Array(5).fill('other'));
  });
});
