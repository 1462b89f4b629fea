/** What the inspection of one table says: about a sound one, about every damaged part, and about bytes of unknown origin. */
import { describe, expect, it } from 'vitest';
import type { SstReport, SstRow } from '../../src/tools/reports.ts';
import { type SstInspectOptions, sstInspect } from '../../src/tools/sst-inspect.ts';
import { rejection, type World } from '../support/database.ts';
import { damageAt, numbers, overwrite, type SectionName, tablesOf, tablesWorld } from '../support/table-database.ts';

function inspect(world: World, id: string, options: SstInspectOptions = {}): Promise<SstReport> {
  return world.run(sstInspect({ store: world.memory, path: '' }, id, { clock: world.clock, ...options }));
}

async function gathered(rows: AsyncIterable<SstRow> | undefined): Promise<SstRow[]> {
  const out: SstRow[] = [];
  for await (const row of rows ?? []) out.push(row);
  return out;
}

const SECTIONS: readonly SectionName[] = ['filter', 'index', 'stats', 'seal', 'info', 'footer'];

describe('a sound table', () => {
  it('is reported whole: parts, blocks, checks, rows', async () => {
    const world = await tablesWorld([numbers(0, 100)]);
    const [{ ref, path, size }] = await tablesOf(world);
    const report = await inspect(world, ref.id, { rows: true });
    expect(report).toMatchObject({ id: ref.id, path, size, sealed: true, infoEqualsManifest: true, findings: [] });
    expect(report.seal?.state).toBe('ok');
    expect(report.filter!.estimatedFalsePositives).toBeLessThan(0.05);
    expect(report.blocks.length).toBeGreaterThan(5);
    expect(report.blocks.every((b) => b.crc === 'ok' && b.diagnosis === undefined && b.checks!.bad === 0)).toBe(true);
    expect(report.blocks.reduce((n, b) => n + b.rows!, 0)).toBe(100);
    const rows = await gathered(report.rows);
    expect(rows.length).toBe(100);
    expect(rows.every((r) => r.trust === 'good' && r.op === 'put')).toBe(true);
  });

  it('is found by its path, too, and a name that is none is refused', async () => {
    const world = await tablesWorld([numbers(0, 10)]);
    const [{ path }] = await tablesOf(world);
    expect((await inspect(world, path)).findings).toEqual([]);
    for (const name of ['nonsense', '../x', ''])
      expect((await rejection(inspect(world, name))).code).toBe('BAD_ARGUMENT');
    expect((await rejection(inspect(world, '01ARZ3NDEKTSV4RRFFQ69G5FAV'))).code).toBe('BAD_ARGUMENT');
  });

  it('is read from bytes alone', async () => {
    const world = await tablesWorld([numbers(0, 100)]);
    const [{ ref, path }] = await tablesOf(world);
    const report = await sstInspect('memory:', { bytes: await world.bytes(path) });
    expect(report.findings).toEqual([]);
    expect(report.id).toBe(ref.id);
    expect(report.blocks.reduce((n, b) => n + b.rows!, 0)).toBe(100);
  });
});

describe('a damaged part after the blocks', () => {
  it.each(SECTIONS)('%s: every block is found and every row read', async (section) => {
    const world = await tablesWorld([numbers(0, 100)]);
    const [{ ref, path, sections }] = await tablesOf(world);
    const { offset, length } = sections[section];
    for (const at of [offset, offset + (length >> 1), offset + length - 1]) {
      const copy = await world.copy();
      await damageAt(copy, path, at);
      for (const what of [ref.id, { bytes: await copy.bytes(path) }]) {
        const report = await copy.run(sstInspect({ store: copy.memory, path: '' }, what, { rows: true }));
        expect(report.findings.length, `${section} at ${at}`).toBeGreaterThan(0);
        expect(
          report.findings.every((f) => f.remedy === 'rebuilds'),
          JSON.stringify(report.findings.map((f) => f.code)),
        ).toBe(true);
        expect((await gathered(report.rows)).length, `${section} at ${at}`).toBe(100);
      }
    }
  });

  it('all of them at once: the blocks are found by their own checksums', async () => {
    const world = await tablesWorld([numbers(0, 100)]);
    const [{ ref, path, size, sections }] = await tablesOf(world);
    await overwrite(world, path, sections.filter.offset, size - sections.filter.offset);
    const report = await inspect(world, ref.id, { rows: true });
    expect(report.blocks.every((b) => b.crc === 'ok')).toBe(true);
    expect((await gathered(report.rows)).length).toBe(100);
    const raw = await sstInspect('memory:', { bytes: await world.bytes(path) }, { rows: true });
    expect((await gathered(raw.rows)).length).toBe(100);
  });
});

describe('the diagnosis of a damaged block', () => {
  async function withDamage(damage: (bytes: Uint8Array, start: number, end: number) => Uint8Array) {
    const world = await tablesWorld([numbers(0, 100)]);
    const [{ ref, path }] = await tablesOf(world);
    const whole = await inspect(world, ref.id);
    const { offset, storedBytes } = whole.blocks[2];
    const bytes = damage(await world.bytes(path), offset, offset + storedBytes);
    await world.replace(path, bytes);
    const report = await inspect(world, ref.id, { rows: true, hexOfBad: true });
    return { report, block: report.blocks[2], offset };
  }

  it('names the bit that was inverted', async () => {
    const { report, block, offset } = await withDamage((bytes, start) => {
      bytes[start + 100] ^= 0x40;
      return bytes;
    });
    expect(block.diagnosis).toMatch(/can be repaired \(proven\): byte 100: 0x.. was 0x../);
    expect(block.hex?.length).toBe(2 * block.storedBytes);
    const [finding] = report.findings;
    expect(finding).toMatchObject({ code: 'BAD_CHECKSUM', remedy: 'heals', origin: 'at-rest' });
    expect(finding.at).toMatchObject({ unit: 'block', index: 2, offset });
    expect(finding.hint.commands).toContain(`shaledb sst repair LOCATION ${report.id}`);
    expect((await gathered(report.rows)).filter((r) => r.trust === 'verified').length).toBe(block.rows);
  });

  it('sees a run of zeros, and rows under checks that hold', async () => {
    const { report, block } = await withDamage((bytes, start) => bytes.fill(0, start + 200, start + 300));
    expect(block.diagnosis).toMatch(/a run of 1\d\d zeros/);
    const rows = (await gathered(report.rows)).filter((r) => r.block === 2);
    expect(rows.filter((r) => r.trust === 'verified').length).toBeGreaterThan(3);
    expect(report.findings[0].remedy).toBe('salvages');
  });

  it('sees that the bytes were moved', async () => {
    const { block } = await withDamage((bytes, start, end) => {
      bytes.copyWithin(start + 3, start, end);
      return bytes;
    });
    expect(block.diagnosis).toMatch(/3 bytes too far back/);
  });

  it('sees the block of another place', async () => {
    const { report, block } = await withDamage((bytes, start, end) => {
      bytes.set(bytes.slice(0, end - start), start);
      return bytes;
    });
    expect(block.diagnosis ?? report.findings.map((f) => f.code).join()).toMatch(
      /another block|OUT_OF_ORDER|heal|too wide/,
    );
    expect(report.findings.length).toBeGreaterThan(0);
  });

  it('sees where the object was cut', async () => {
    const { report, block } = await withDamage((bytes, start) => bytes.subarray(0, start + 50));
    expect(block.diagnosis).toMatch(/cut/);
    expect(report.findings.map((f) => f.code)).toContain('TRUNCATED');
    expect((await gathered(report.rows)).filter((r) => r.trust === 'good').length).toBeGreaterThan(10);
  });
});

it('says of a table under the name of another which one it is', async () => {
  const world = await tablesWorld([numbers(0, 100), numbers(0, 100)]);
  const [a, b] = await tablesOf(world);
  await world.replace(a.path, await world.bytes(b.path));
  const report = await inspect(world, a.ref.id);
  expect(report.findings[0]).toMatchObject({ code: 'IDENTITY_MISMATCH', expected: a.ref.id, found: b.ref.id });
});

it('reports a table that is gone although a manifest names it', async () => {
  const world = await tablesWorld([numbers(0, 100)]);
  const [{ ref, path }] = await tablesOf(world);
  await world.remove(path);
  expect((await inspect(world, ref.id)).findings[0].code).toBe('MISSING_OBJECT');
});

it('says where nothing of a database is', async () => {
  const world = await tablesWorld([[1]]);
  const [{ ref }] = await tablesOf(world);
  const nowhere = sstInspect({ store: world.memory, path: 'elsewhere' }, ref.id, { clock: world.clock });
  expect((await rejection(world.run(nowhere))).code).toBe('NOT_A_DATABASE');
});
