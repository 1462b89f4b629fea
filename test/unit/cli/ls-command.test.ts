/** shaledb ls: what is shown of a list of objects, in which order, and the sums. */
import { expect, it } from 'vitest';
import type { ObjectListReport } from '../../../src/admin.ts';
import { runWith } from '../../support/command-line.ts';

const REPORT: ObjectListReport = {
  schemaVersion: 1,
  objects: [
    { path: 'compacted/01JC0000000000000000000000.sst', role: 'table', bytes: 64 << 20, storedAtMs: 1_796_000_000_000 },
    { path: 'compacted/01JD0000000000000000000000.sst', role: 'table', bytes: 65 << 20, storedAtMs: 1_795_000_000_000 },
    { path: 'manifest/00000000000000000001.manifest', role: 'manifest', bytes: 300, storedAtMs: 1_794_000_000_000 },
    { path: 'x\u001b[2J', role: 'foreign', bytes: 1 },
  ],
  roles: [
    { role: 'manifest', objects: 1, bytes: 300 },
    { role: 'table', objects: 2, bytes: 129 << 20 },
    { role: 'foreign', objects: 1, bytes: 1 },
  ],
  total: { objects: 4, bytes: (129 << 20) + 301 },
  requests: 1,
  tookMs: 3,
};
const ls = (...words: string[]) => runWith(['ls', 'x', ...words], { tools: { objectList: async () => REPORT } });

it('shows objects and sums', async () => {
  expect(`\n${(await ls()).out}`).toMatchInlineSnapshot(`
    "
    role          size  stored (UTC)         object
    table     64.0 MiB  2026-11-30 00:53:20  compacted/01JC0000000000000000000000.sst
    table     65.0 MiB  2026-11-18 11:06:40  compacted/01JD0000000000000000000000.sst
    manifest     300 B  2026-11-06 21:20:00  manifest/00000000000000000001.manifest
    foreign        1 B  unknown              x\\u{1b}[2J

                     objects      bytes
    manifests              1      300 B
    tables                 2  129.0 MiB
    foreign objects        1        1 B
    together               4  129.0 MiB
    "
  `);
});
it('shows the largest, the newest, one role, or only sums', async () => {
  expect((await ls('--sort', 'size', '--limit', '1')).out).toMatch(/^role.*\ntable {2}65\.0 MiB.*01JD.*\n\n/);
  expect((await ls('--sort', 'size', '--limit', '1')).out).toContain('3 objects more not shown (--limit 1).');
  expect((await ls('--sort', 'age', '--limit', '1')).out).toMatch(/^role.*\ntable {2}64\.0 MiB.*01JC/);
  expect((await ls('--role', 'manifest')).out).toMatch(/^role.*\nmanifest {2}300 B.*\n\n/);
  expect((await ls('--sums')).out).not.toContain('compacted');
  expect(JSON.parse((await ls('--json', '--role', 'foreign')).out)).toMatchObject({
    type: 'objects',
    objects: [{ path: 'x\u001b[2J' }],
    total: { objects: 4 },
  });
});
