/**
 * How far the log extends and which manifest is the newest is found in one file each (`recovery/log-range.ts`, `recovery/place.ts`):
 * a second reader of `wal/` or `manifest/` would differ from it in the next release. Others that list, or ask for ids that no list
 * shows, stand here with what they want of it.
 */
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { lineOf, parseSource, readSources, type SourceFile, walk } from '../support/source-files.ts';

const SRC = join(import.meta.dirname, '..', '..', 'src');

/** Directory -> the files that list it. */
const LISTERS: Readonly<Record<string, readonly string[]>> = {
  'wal/': ['recovery/log-range.ts'],
  'manifest/': ['lsm/manifest/manifest-store.ts'],
  // The second one reads all jobs that a compactor ever wrote down.
  'compactions/': ['recovery/place.ts', 'tools/row-sources.ts'],
};
const CONSTANTS: Readonly<Record<string, string>> = {
  WAL_PREFIX: 'wal/',
  MANIFEST_PREFIX: 'manifest/',
  COMPACTIONS_PREFIX: 'compactions/',
};

/** Files that list what a variable says. */
const LIST_ANYTHING: Readonly<Record<string, string>> = {
  'lsm/manifest/database-stores.ts': 'a wrapper of stores',
  'lsm/manifest/epoch-guard.ts': 'a wrapper of stores',
  'lsm/tree/parents.ts': 'whether another database is there at all',
  'recovery/remains.ts': 'whether anything of a database is left, in any directory',
  'tools/database-state.ts': 'whether the place is empty',
  'tools/quarantine-list.ts': 'copies of what was repaired',
  'tools/sidecar-check.ts': 'every small object',
};

/** Files that ask for the ids of all manifests, or of the newest one, and why not through place.ts. */
const MANIFEST_IDS: Readonly<Record<string, string>> = {
  'lsm/manifest/manifest-log.ts': 'is below place.ts: follows the newest one from the one in use',
  'recovery/manifest-evidence.ts': 'times of two neighbours',
  'recovery/place.ts': 'the home of the rule',
  'recovery/vanished-log.ts': 'the oldest',
  'tools/manifest-inspect.ts': 'the one before a certain one',
  'tools/named-tables.ts': 'all of them, each of which names tables',
  'tools/repair-history.ts': 'all since a certain one',
  'tools/row-sources.ts': 'older ones, as witnesses of what a table was made of',
};

/** Files that ask by HEAD for an object whose id they made up. */
const HEADS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  walPath: { 'recovery/log-range.ts': 'the home of the rule' },
  manifestPath: {
    'lsm/manifest/manifest-log.ts': 'the one in use',
    'recovery/place.ts': 'the home of the rule',
    'tools/manifest-inspect.ts': 'the one that the user named',
  },
};

interface Seen {
  faults: string[];
  /** Entries of the tables above that were needed. */
  used: Set<string>;
}

function search(files: readonly SourceFile[]): Seen {
  const seen: Seen = { faults: [], used: new Set() };
  for (const file of files) {
    if (file.path.startsWith('store/')) continue;
    walk(file.ast, (node) => {
      if (!ts.isCallExpression(node)) return;
      const at = `${file.path}:${lineOf(file.ast, node)}`;
      const [argument] = node.arguments;
      if (ts.isIdentifier(node.expression)) {
        const { text } = node.expression;
        const asks = text === 'listManifestIds' || text === 'listManifestTimes';
        if (asks && file.path !== 'lsm/manifest/manifest-store.ts') allow(seen, MANIFEST_IDS, file.path, at, text);
        return;
      }
      if (!ts.isPropertyAccessExpression(node.expression) || argument === undefined) return;
      const method = node.expression.name.text;
      if (method === 'list') checkList(seen, file.path, at, argument);
      const path = ts.isCallExpression(argument) ? argument.expression.getText(file.ast) : '';
      if (method === 'head' && HEADS[path] !== undefined) allow(seen, HEADS[path], file.path, at, `HEAD of ${path}`);
    });
  }
  return seen;
}

function checkList(seen: Seen, path: string, at: string, argument: ts.Expression): void {
  const prefix = prefixOf(argument);
  if (prefix === undefined) {
    allow(seen, LIST_ANYTHING, path, at, 'a list of what a variable says');
    return;
  }
  const directory = Object.keys(LISTERS).find((name) => prefix.startsWith(name));
  if (directory === undefined) return;
  if (!LISTERS[directory].includes(path)) seen.faults.push(`${at}: a list of ${directory}`);
  seen.used.add(`${directory} ${path}`);
}

/** The directory that is listed, as far as the text says; undefined: whatever a variable says. */
function prefixOf(argument: ts.Expression): string | undefined {
  if (ts.isStringLiteralLike(argument)) return argument.text;
  if (ts.isTemplateExpression(argument)) {
    const { head, templateSpans } = argument;
    return head.text === '' ? prefixOf(templateSpans[0].expression) : head.text;
  }
  if (!ts.isIdentifier(argument) || !/^[A-Z_]+$/.test(argument.text)) return undefined;
  return CONSTANTS[argument.text] ?? argument.text;
}

function allow(seen: Seen, allowed: Readonly<Record<string, string>>, path: string, at: string, what: string): void {
  if (allowed[path] === undefined) seen.faults.push(`${at}: ${what}`);
  seen.used.add(`${what} ${path}`);
}

describe('one home', () => {
  const { faults, used } = search(readSources(SRC));

  it('only the homes of the two rules list the log and the manifests', () => {
    expect(faults).toEqual([]);
  });
  it('whoever is allowed to is one who does', () => {
    const entries = [
      ...Object.entries(LISTERS).flatMap(([directory, paths]) => paths.map((path) => `${directory} ${path}`)),
      ...Object.keys(LIST_ANYTHING).map((path) => `a list of what a variable says ${path}`),
      ...Object.entries(HEADS).flatMap(([of, paths]) => Object.keys(paths).map((path) => `HEAD of ${of} ${path}`)),
    ];
    expect(entries.filter((entry) => !used.has(entry))).toEqual([]);
    const asking = Object.keys(MANIFEST_IDS).filter(
      (path) => !used.has(`listManifestIds ${path}`) && !used.has(`listManifestTimes ${path}`),
    );
    expect(asking).toEqual([]);
  });
});

describe('the law of one home sees', () => {
  it.each([
    ['a list of the log', 'stores.wal.list(WAL_PREFIX, { startAfter })', 'a list of wal/'],
    ['one by the name of the directory', "wal.list('wal/')", 'a list of wal/'],
    ['one that begins within the log', `wal.list(\`${'$'}{WAL_PREFIX}0000\`)`, 'a list of wal/'],
    ['a list of the manifests', 'main.list(MANIFEST_PREFIX)', 'a list of manifest/'],
    ['a list of the compactions', 'main.list(COMPACTIONS_PREFIX)', 'a list of compactions/'],
    ['a list of what a variable says', 'main.list(prefix)', 'a list of what a variable says'],
    ['a question for the ids of manifests', 'listManifestIds(main)', 'listManifestIds'],
    ['a HEAD past the end of the log', 'wal.head(walPath(end + 1))', 'HEAD of walPath'],
    ['a HEAD of the manifest after the newest', 'main.head(manifestPath(id + 1))', 'HEAD of manifestPath'],
  ])('%s', (_, call, fault) => {
    expect(search([parseSource('tools/t.ts', call)]).faults).toEqual([`tools/t.ts:1: ${fault}`]);
  });
  it.each(["main.list('')", 'main.list(TABLE_PREFIX)', `main.list(\`${'$'}{REPAIRS_PREFIX}\`)`, 'main.head(path)'])(
    'no fault in %s',
    (call) => {
      expect(search([parseSource('tools/t.ts', call)]).faults).toEqual([]);
    },
  );
});
