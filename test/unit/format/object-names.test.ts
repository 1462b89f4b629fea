import { describe, expect, it } from 'vitest';
import type { Ulid } from '../../../src/common/ulid.ts';
import {
  compactionsPath,
  manifestPath,
  parseCompactionsPath,
  parseIdText,
  parseManifestPath,
  parseTablePath,
  parseWalPath,
  roleOfPath,
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

  it('with an id above 2^53 - 1 are not ignored', () => {
    expect(() => parseIdText('00009007199254740992')).toThrow(expect.objectContaining({ code: 'FORMAT_TOO_NEW' }));
    expect(() => parseIdText('18446744073709551615')).toThrow(expect.objectContaining({ code: 'FORMAT_TOO_NEW' }));
    expect(parseIdText('18446744073709551616')).toBeUndefined();
  });

  it('tell the role by directory', () => {
    const roles = ['manifest/x', 'wal/', 'compacted/y', 'compactions/z', 'gc/manifest.boundary', 'shale/damage/1'];
    expect(roles.map(roleOfPath)).toEqual(['manifest', 'wal', 'table', 'compactions', 'boundary', 'sidecar']);
    expect(['', 'x', '.deleting', 'manifests/x', 'compacted'].map(roleOfPath)).toEqual(Array(5).fill('other'));
  });
});
