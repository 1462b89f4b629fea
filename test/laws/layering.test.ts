/** Imports only go down the floors of src/README.md, without cycles; entry files hold named re-exports only. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { lineOf, parseSource, readSources, type SourceFile } from '../support/source-files.ts';

const SRC = join(import.meta.dirname, '..', '..', 'src');
const ENTRY_FLOOR = 5;

/** Room -> floor, from the table of the map. */
function readFloors(map: string): Map<string, number> {
  const floors = new Map<string, number>();
  for (const [, room, floor] of map.matchAll(/^\| `([^`]+)` \| ([\d.]+) \|/gm)) floors.set(room!, Number(floor));
  return floors;
}

/** Sub-rooms of a room, in the order of the map. */
function readSubRooms(map: string): string[] {
  return [...map.matchAll(/^\| `([^`/]+\/[^`]+)` \|/gm)].map(([, name]) => name!);
}

/** The files that answer questions about where something is decided. */
function decidingFiles(map: string): string[] {
  return [...map.matchAll(/^\| .*\? .*\| `([^`]+)` \|$/gm)].map(([, path]) => path!);
}

/** Files of a room with sub-rooms that are in none of them, and imports to a sub-room that is listed below. */
function subRoomFaults(files: readonly SourceFile[], subRooms: readonly string[]): string[] {
  const placeOf = (path: string) => subRooms.findIndex((name) => path.startsWith(`${name}/`));
  const isDivided = (path: string) => subRooms.some((name) => name.startsWith(`${roomOf(path)}/`));
  return files
    .filter((f) => isDivided(f.path))
    .flatMap(({ path, imports }) => {
      const place = placeOf(path);
      if (place < 0) return [`${path} is in no sub-room`];
      const up = imports.filter(({ target }) => target !== undefined && placeOf(target) > place);
      return up.map(({ line, target }) => `${path}:${line}: ${subRooms[place]} imports ${target}`);
    });
}

function roomOf(path: string): string {
  return path.includes('/') ? path.slice(0, path.indexOf('/')) : path;
}

function upwardImports(files: readonly SourceFile[], floors: Map<string, number>): string[] {
  const known = new Set(files.map((f) => f.path));
  const faults: string[] = [];
  for (const file of files) {
    const room = roomOf(file.path);
    const floor = floors.get(room);
    if (floor === undefined) {
      faults.push(`${file.path}: the room ${room} is not in the map`);
      continue;
    }
    for (const { line, specifier, target } of file.imports) {
      if (target === undefined) continue;
      const at = `${file.path}:${line}`;
      if (!known.has(target)) faults.push(`${at}: ${specifier} is not a file of src`);
      else if (roomOf(target) !== room && (floors.get(roomOf(target)) ?? Number.POSITIVE_INFINITY) >= floor) {
        faults.push(
          `${at}: ${room} (floor ${floor}) imports ${target} (floor ${floors.get(roomOf(target)) ?? 'unknown'})`,
        );
      }
    }
  }
  return faults;
}

/** Each cycle once, as the files on it. */
function cycles(files: readonly SourceFile[]): string[] {
  const targets = new Map(files.map((f) => [f.path, f.imports.flatMap((i) => i.target ?? [])]));
  const done = new Set<string>();
  const path: string[] = [];
  const found: string[] = [];
  const visit = (file: string): void => {
    const at = path.indexOf(file);
    if (at >= 0) found.push([...path.slice(at), file].join(' -> '));
    if (at >= 0 || done.has(file)) return;
    path.push(file);
    for (const target of targets.get(file) ?? []) visit(target);
    path.pop();
    done.add(file);
  };
  for (const file of targets.keys()) visit(file);
  return found;
}

/** Statements of an entry file that are not `export { a, b } from '...'`. */
function otherThanReExports(file: SourceFile): string[] {
  return file.ast.statements
    .filter(
      (s) => !(ts.isExportDeclaration(s) && s.moduleSpecifier && s.exportClause && ts.isNamedExports(s.exportClause)),
    )
    .map((s) => `${file.path}:${lineOf(file.ast, s)}: ${s.getText(file.ast).split('\n')[0]}`);
}

describe('layering', () => {
  const files = readSources(SRC);
  const floors = readFloors(readFileSync(join(SRC, 'README.md'), 'utf8'));
  const entries = files.filter((f) => !f.path.includes('/') && floors.get(f.path) === ENTRY_FLOOR);

  it('the map has rooms and files that exist, and no others', () => {
    const map = readFileSync(join(SRC, 'README.md'), 'utf8');
    const named = [...floors.keys(), ...readSubRooms(map), ...decidingFiles(map)];
    expect(decidingFiles(map).length).toBeGreaterThan(15);
    expect(named.filter((path) => !files.some((f) => f.path === path || f.path.startsWith(`${path}/`)))).toEqual([]);
  });
  it('imports go to the own room or to a lower floor', () => {
    expect(upwardImports(files, floors)).toEqual([]);
  });
  it('imports within lsm go to the own sub-room or to one listed above it', () => {
    const subRooms = readSubRooms(readFileSync(join(SRC, 'README.md'), 'utf8'));
    expect(subRooms.length).toBe(7);
    expect(subRoomFaults(files, subRooms)).toEqual([]);
  });
  it('there are no import cycles', () => {
    expect(cycles(files)).toEqual([]);
  });
  it('entry files hold named re-exports only', () => {
    expect(entries.flatMap(otherThanReExports)).toEqual([]);
  });
  it('there are no default exports', () => {
    const faults = files.filter((f) => f.ast.statements.some(isDefaultExport)).map((f) => f.path);
    expect(faults).toEqual([]);
  });
});

function isDefaultExport(statement: ts.Statement): boolean {
  if (ts.isExportAssignment(statement)) return true;
  return (
    ts.canHaveModifiers(statement) &&
    (ts.getModifiers(statement) ?? []).some((m) => m.kind === ts.SyntaxKind.DefaultKeyword)
  );
}

describe('the layering law sees', () => {
  const floors = readFloors(
    '| `common` | 0 | x |\n| `store` | 1 | x |\n| `format` | 1 | x |\n| `open.ts` | 3.5 | x |\n',
  );
  const common = parseSource('common/a.ts', 'export const a = 1;');

  it.each([
    ['an import up', "import { s } from '../store/s.ts';"],
    ['a type import', "import type { S } from '../store/s.ts';"],
    ['a type import inside a type', "export type T = import('../store/s.ts').S;"],
    ['a dynamic import', "export const load = () => import('../store/s.ts');"],
    ['a re-export', "export { s } from '../store/s.ts';"],
    ['an import of the composition root', "import { open } from '../open.ts';"],
    ['an import of a file that does not exist', "import { x } from '../common/nowhere.ts';"],
  ])('%s', (_, text) => {
    const files = [common, parseSource('common/b.ts', text), parseSource('store/s.ts', ''), parseSource('open.ts', '')];
    expect(upwardImports(files, floors).length).toBe(1);
  });
  it('an import sideways, and not one down', () => {
    const sideways = parseSource(
      'format/f.ts',
      "import { s } from '../store/s.ts';\nimport { a } from '../common/a.ts';",
    );
    expect(upwardImports([common, parseSource('store/s.ts', ''), sideways], floors)).toEqual([
      'format/f.ts:1: format (floor 1) imports store/s.ts (floor 1)',
    ]);
  });
  it('an import to a sub-room that is listed below, and a file outside of all', () => {
    const subRooms = readSubRooms('| `lsm/rows` | x |\n| `lsm/read` | x |\n');
    const rows = parseSource('lsm/rows/r.ts', "import { v } from '../read/v.ts';");
    const read = parseSource('lsm/read/v.ts', "import { r } from '../rows/r.ts';");
    expect(subRoomFaults([rows, read, parseSource('lsm/l.ts', '')], subRooms)).toEqual([
      'lsm/rows/r.ts:1: lsm/rows imports lsm/read/v.ts',
      'lsm/l.ts is in no sub-room',
    ]);
  });
  it('a room without a floor', () => {
    expect(upwardImports([parseSource('misc/m.ts', '')], floors)).toEqual([
      'misc/m.ts: the room misc is not in the map',
    ]);
  });
  it('a cycle through a type import', () => {
    const a = parseSource('store/a.ts', "import { b } from './b.ts';");
    const b = parseSource('store/b.ts', "import type { A } from './a.ts';");
    expect(cycles([a, b])).toEqual(['store/a.ts -> store/b.ts -> store/a.ts']);
  });
  it.each([
    'export const x = 1;',
    "export * from './db/db.ts';",
    "import './db/db.ts';",
    "export * as db from './db/db.ts';",
  ])('in an entry file: %s', (text) => {
    expect(otherThanReExports(parseSource('index.ts', `export { a } from './open.ts';\n${text}`)).length).toBe(1);
  });
});
