/**
 * What the command line says to an operator, from a damaged database to a clean one: each cause once, nothing that was repaired already,
 * and only commands that can be run as they are printed.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import * as admin from '../../src/admin.ts';
import { EXIT } from '../../src/cli/exit-codes.ts';
import { open } from '../../src/index.ts';
import { asUnused } from '../../src/tools/sst-check.ts';
import { type Ran, runWith } from '../support/command-line.ts';
import { commandsInJson, commandsInText, parsePrinted } from '../support/printed-commands.ts';
import { tableFinding } from '../support/report-samples.ts';

const AT_ONCE = ['--live-check-ms', '0'];

let place: string;
let directory: string;
let location: string;

beforeAll(() => {
  place = mkdtempSync(join(tmpdir(), 'shaledb-notes-'));
});
afterAll(() => rmSync(place, { recursive: true, force: true }));
beforeEach((context) => {
  // A shell takes some of these characters for something else.
  directory = join(place, `at ${context.task.id}!`);
  mkdirSync(directory);
  location = pathToFileURL(directory).href;
});

const names = (kind: string) => readdirSync(join(directory, kind)).sort();
const remove = (kind: string, nth: number) => {
  const name = names(kind).at(nth)!;
  rmSync(join(directory, kind, name));
  return name;
};
const spoil = (kind: string, nth: number) => {
  const path = join(directory, kind, names(kind).at(nth)!);
  const bytes = readFileSync(path);
  bytes.fill(0x58, 100, 140);
  writeFileSync(path, bytes);
};

/** Three tables, without a log if that is wanted, and no clean close. */
async function database(walEnabled = true): Promise<void> {
  const db = await open(location, {
    walEnabled,
    compactor: false,
    logger: { debug() {}, info() {}, warn() {}, error() {} },
  });
  for (let table = 0; table < 3; table++) {
    for (let i = 0; i < 10; i++) await db.put(`k${table}-${i}`, `value-${i}`, { awaitDurable: false });
    await db.flush({ type: 'memtable' });
  }
  await db.put('last', 'v');
  await db.close();
}

/** Runs a command on the database and takes every command that it prints apart: each must be about this database. */
async function shaledb(name: string, ...words: string[]): Promise<Ran> {
  const ran = await runWith([...name.split(' '), location, ...words], { tools: admin, columns: 400 });
  const isJson = words.includes('--json');
  const lines = isJson ? commandsInJson(ran.out) : commandsInText(ran.out + ran.err);
  const root = words.includes('--root') ? words[words.indexOf('--root') + 1] : undefined;
  for (const line of lines) {
    const { args } = parsePrinted(line);
    expect(args.text('LOCATION'), line).toBe(location);
    if (root !== undefined) expect(args.text('root'), line).toBe(root);
  }
  return ran;
}

const headsOf = ({ out }: Ran) => out.split('\n').filter((line) => /^(error|warning|unknown|note) /.test(line));
const stepsOf = (ran: Ran) => commandsInText(ran.out.slice(ran.out.indexOf('\nNext\n')));

describe('a table that is gone', () => {
  it('is degraded until its loss is acknowledged by the command that doctor names, and clean then', async () => {
    await database(false);
    const table = remove('compacted', 0).replace('.sst', '');
    const found = await shaledb('doctor');
    expect(found.code).toBe(EXIT.damage);
    expect(stepsOf(found).map((line) => parsePrinted(line).name)).toContain('sst repair');
    const repaired = await shaledb('sst repair', table, '--apply', '--accept-loss', ...AT_ONCE);
    expect(repaired.code).toBe(EXIT.repairedWithLoss);

    const open = await shaledb('doctor');
    expect([open.code, headsOf(open)]).toEqual([EXIT.damage, [`note MISSING_OBJECT compacted/${table}.sst`]]);
    expect(open.out).toMatch(/^Degraded/);
    // The repair that was done is not offered again.
    expect(commandsInText(open.out).map((line) => parsePrinted(line).name)).toEqual(['damage list', 'damage ack']);
    const { args } = parsePrinted(stepsOf(open).at(-1)!);
    const json = await shaledb('doctor', '--json');
    expect(commandsInJson(json.out).map((line) => parsePrinted(line).name)).toEqual(['damage list', 'damage ack']);

    expect((await shaledb('damage ack', args.text('ID'), '--note', args.text('note'))).code).toBe(EXIT.clean);
    const clean = await shaledb('doctor');
    expect([clean.code, stepsOf(clean)]).toEqual([EXIT.clean, []]);
  });

  it('whose rows the log had is clean after the repair', async () => {
    await database();
    const table = remove('compacted', 0).replace('.sst', '');
    expect((await shaledb('sst repair', table, '--apply', ...AT_ONCE)).code).toBe(EXIT.repaired);
    expect((await shaledb('doctor')).code).toBe(EXIT.clean);
  });

  it('and that nothing in use names is a warning with nothing to repair, and a note once a repair answered it', () => {
    const finding = tableFinding();
    expect(asUnused(finding, new Set())).toMatchObject({ severity: 'warning', hint: { commands: [] } });
    const answered = asUnused(finding, new Set([finding.object.path]));
    expect(answered).toMatchObject({ severity: 'note', hint: { commands: [], lossIfRepaired: 'none' } });
  });
});

describe('a damaged newest manifest', () => {
  it('that the log knows is one finding everywhere, and a note without a repair when it is repaired', async () => {
    await database();
    // The log goes on after the manifest, and its objects name it.
    const db = await open(location, { compactor: false });
    await db.put('after', 'v');
    await db.flush();
    const newest = `manifest/${names('manifest').at(-1)}`;
    spoil('manifest', -1);
    for (const command of ['doctor', 'wal inspect', 'sst check', 'manifest inspect']) {
      const ran = await shaledb(command);
      expect([command, ran.code, headsOf(ran)]).toEqual([command, EXIT.damage, [`error MALFORMED ${newest}`]]);
    }
    const repair = await shaledb('manifest repair', '--apply', '--if-live-writer', 'fence');
    expect(repair.code).toBe(EXIT.repaired);
    await db.close().catch(() => undefined);
    const after = await shaledb('doctor');
    expect(headsOf(after)).toEqual([`note MALFORMED ${newest}`]);
    expect([after.code, commandsInText(after.out)]).toEqual([EXIT.clean, []]);
  });

  it('beside newer ones that are gone is reported beside them', async () => {
    await database();
    const db = await open(location, { compactor: false });
    await db.put('after', 'v');
    await db.flush();
    // What the log knows is gone, and what is then the newest is damaged.
    remove('manifest', -1);
    spoil('manifest', -1);
    const ran = await shaledb('sst check');
    expect(headsOf(ran).map((line) => line.split(' ')[1])).toEqual(['MALFORMED', 'ROLLED_BACK']);
    await db.close().catch(() => undefined);
  });
});

describe('without any manifest', () => {
  it('no repair can be done: exit code 5 with and without --apply, from all of them', async () => {
    await database();
    const [table] = names('compacted');
    for (const name of names('manifest')) rmSync(join(directory, 'manifest', name));
    for (const apply of [[], ['--apply', ...AT_ONCE]]) {
      const codes = [
        (await shaledb('manifest repair', ...apply)).code,
        (await shaledb('wal repair', ...apply)).code,
        (await shaledb('sst repair', table.replace('.sst', ''), ...apply)).code,
      ];
      expect(codes).toEqual([EXIT.notRepaired, EXIT.notRepaired, EXIT.notRepaired]);
    }
  });
});

describe('every command that is printed', () => {
  it('carries the location and the root, quoted, in text and JSON, over all kinds of damage', async () => {
    await database();
    spoil('compacted', 0);
    spoil('wal', 2);
    remove('wal', -1);
    const [table] = names('compacted');
    const root = pathToFileURL(place).href;
    const calls: string[][] = [
      ['doctor'],
      ['wal inspect'],
      ['wal repair'],
      ['sst check'],
      ['sst inspect', table.replace('.sst', '')],
      ['sst repair', table.replace('.sst', '')],
      ['manifest inspect'],
      ['manifest repair'],
      ['damage list'],
      ['quarantine list'],
      ['quarantine restore', 'r-0123456789abcdef01234567'],
    ];
    for (const [name, ...words] of calls) {
      for (const json of [[], ['--json']]) await shaledb(name, ...words, '--root', root, ...json);
    }
    const plan = await shaledb('sst repair', table.replace('.sst', ''), '--root', root);
    const exact = commandsInText(plan.out).at(-1)!;
    expect(parsePrinted(exact).args.text('plan')).toMatch(/^p-/);
    const json = await shaledb('sst repair', table.replace('.sst', ''), '--root', root, '--json');
    expect(commandsInJson(json.out)).toContain(`${exact.replace(' --apply', ' --json --apply')}`);
  });
});

describe('originals in quarantine', () => {
  it('are put back with words that say what was put back and what reads go on with', async () => {
    await database();
    const table = names('compacted')[0];
    spoil('compacted', 0);
    expect((await shaledb('sst repair', table.replace('.sst', ''), '--apply', ...AT_ONCE)).code).toBe(EXIT.repaired);
    const list = JSON.parse((await shaledb('quarantine list', '--json')).out) as { entries: { repairId: string }[] };
    const [{ repairId }] = list.entries;

    const nothing = await shaledb('quarantine restore', repairId);
    expect([nothing.code, nothing.out.split('\n')[0]]).toEqual([
      EXIT.clean,
      'Nothing is to be put back. Nothing was changed.',
    ]);
    rmSync(join(directory, 'compacted', table));
    const plan = await shaledb('quarantine restore', repairId);
    expect(plan.out.split('\n')[0]).toBe('Dry run: nothing was changed. 1 original is gone and would be put back.');
    expect(plan.out).not.toMatch(/rows|reconstructed|repaired/i);
    expect(commandsInText(plan.out).map((line) => parsePrinted(line).args.text('plan'))).toEqual([
      expect.stringMatching(/^p-/),
    ]);
    const done = await shaledb('quarantine restore', repairId, '--apply');
    expect([done.code, done.out.split('\n')[0]]).toEqual([EXIT.repaired, '1 original put back.']);
    expect(done.out).toContain('goes on reading what the repair put in their place');
    expect(commandsInText(done.out).map((line) => parsePrinted(line).name)).toEqual(['sst inspect']);
    expect(names('compacted')).toContain(table);
  });
});
