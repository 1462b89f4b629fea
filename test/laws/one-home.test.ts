/**
 * Rules of the database are written once, where a search can show it.
 *
 * How far the log extends and which manifest is the newest is found in one file each (`recovery/log-range.ts`, `recovery/place.ts`):
 * a second reader of `wal/` or `manifest/` would differ from it in the next release. Others that list, or ask for ids that no list
 * shows, stand here with what they want of it. Names of objects are spelled in `format/object-names.ts`.
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
  'compactions/': ['lsm/manifest/compactions-store.ts'],
};
const CONSTANTS: Readonly<Record<string, string>> = {
  WAL_PREFIX: 'wal/',
  MANIFEST_PREFIX: 'manifest/',
  COMPACTIONS_PREFIX: 'compactions/',
};

/** Files that list what a variable says. */
const LIST_ANYTHING: Readonly<Record<string, string>> = {
  'tools/object-list.ts': 'everything that is stored, whatever it is',
  'gc/observation.ts': 'every object of each kind, with its age: which manifest is the newest of them place.ts says',
  'lsm/manifest/database-stores.ts': 'a wrapper of stores',
  'lsm/manifest/epoch-guard.ts': 'a wrapper of stores',
  'lsm/tree/parents.ts': 'whether another database is there at all',
  'recovery/remains.ts': 'whether anything of a database is left, in any directory',
  'tools/database-state.ts': 'whether the place is empty',
  'tools/outsized-names.ts': 'a wrapper of stores',
  'tools/quarantine-list.ts': 'copies of what was repaired',
  'tools/sidecar-check.ts': 'every small object',
  'tools/stats.ts': 'every object of each kind, with its size',
};

/** Files that ask for the ids of all manifests, or of the newest one, and why not through place.ts. */
const MANIFEST_IDS: Readonly<Record<string, string>> = {
  'recovery/manifest-evidence.ts': 'times of two neighbours',
  'recovery/place.ts': 'the home of the rule',
  'recovery/vanished-log.ts': 'the oldest',
  'tools/manifest-inspect.ts': 'the one before a certain one',
  'tools/manifest-list.ts': 'all of them, with their dates',
  'tools/named-tables.ts': 'all of them, each of which names tables',
  'tools/repair-history.ts': 'all since a certain one',
  'tools/row-sources.ts': 'older ones, as witnesses of what a table was made of',
};

/** Files that ask by HEAD for an object whose id they made up. */
const HEADS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  walPath: { 'recovery/log-range.ts': 'the home of the rule' },
  manifestPath: {
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
  it('each file that is allowed to does', () => {
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

/**
 * Files that spell names of objects although they are not the home of names, and why. Names in sentences do not count.
 */
const NAMES_ELSEWHERE: Readonly<Record<string, string>> = {
  'cli/wal-commands.ts': 'the id in the name of a file that a user copied out of a database',
  'store/store-contract.ts': 'objects of a test, in a store without a database',
};
const NAME_HOME = 'format/object-names.ts';
const DIRECTORY = /(^|[/*])(shale|gc|wal|compacted|manifest|compactions)\\?\//;
const ENDING = /\.(sst|manifest|compactions|boundary)(\$\/?)?$/;

/** Names of objects that files spell. */
function searchNames(files: readonly SourceFile[]): Seen {
  const seen: Seen = { faults: [], used: new Set() };
  for (const file of files) {
    if (file.path === NAME_HOME) continue;
    const imported = new Set(file.imports.map((i) => i.specifier));
    walk(file.ast, (node) => {
      const text = spelledText(node);
      if (text === undefined || imported.has(text) || /\s/.test(text.trim())) return;
      if (!DIRECTORY.test(text) && !ENDING.test(text)) return;
      allow(seen, NAMES_ELSEWHERE, file.path, `${file.path}:${lineOf(file.ast, node)}`, `the name ${text}`);
      seen.used.add(`a name ${file.path}`);
    });
  }
  return seen;
}

/** The text of a string, of a regular expression or of a template, whose expressions count as a star each. */
function spelledText(node: ts.Node): string | undefined {
  if (ts.isStringLiteralLike(node)) return node.text;
  if (ts.isRegularExpressionLiteral(node)) return node.text.replace(/^\/\^?/, '');
  if (!ts.isTemplateExpression(node)) return undefined;
  return `${node.head.text}${node.templateSpans.map(({ literal }) => `*${literal.text}`).join('')}`;
}

describe('names of objects', () => {
  const { faults, used } = searchNames(readSources(SRC));

  it('are spelled in one file', () => {
    expect(faults).toEqual([]);
  });
  it('are spelled elsewhere only where that is allowed', () => {
    expect(Object.keys(NAMES_ELSEWHERE).filter((path) => !used.has(`a name ${path}`))).toEqual([]);
  });
});

describe('the law of names sees', () => {
  it.each([
    ["main.get('shale/identity')", 'the name shale/identity'],
    [`const p = \`${'$'}{root}shale/repairs/${'$'}{id}\``, 'the name *shale/repairs/*'],
    ["const P = 'gc/';", 'the name gc/'],
    ["path.startsWith('wal/')", 'the name wal/'],
    [`const p = \`${'$'}{prefix}${'$'}{id}.sst\``, 'the name **.sst'],
    ["path.endsWith('.manifest')", 'the name .manifest'],
    ['const N = /^shale\\/quarantine\\/(.+)$/;', 'the name shale\\/quarantine\\/(.+)$/'],
    ['const N = /([0-9]{20})\\.compactions$/;', 'the name ([0-9]{20})\\.compactions$/'],
  ])('%s', (text, fault) => {
    expect(searchNames([parseSource('tools/t.ts', text)]).faults).toEqual([`tools/t.ts:1: ${fault}`]);
  });
  it.each([
    "const message = 'Look at the reports under shale/repairs/ first.';",
    "import { wal } from './wal/wal.ts';",
    "const docs = 'docs/troubleshooting.md';",
    '// shale/identity',
  ])('no fault in %s', (text) => {
    expect(searchNames([parseSource('tools/t.ts', text)]).faults).toEqual([]);
  });
});

/**
 * Files that go through a tree themselves: whatever reads both its levels, or the segments. Everybody else asks `tablesOf`, `viewsOf`,
 * `sourcesOf`, `l0Of`, `runsOf` of the manifest's types, which forget no segment.
 */
const TREE_WALKERS: Readonly<Record<string, string>> = {
  'cli/manifest-content-text.ts': 'says each field, and each tree by its name',
  'cli/manifest-list-text.ts': 'shows numbers, not trees',
  'cli/tree-text.ts': 'draws the trees of a report, which has all of them',
  'compaction/commit.ts': 'where the sources of a job are, and what is older in their tree',
  'compaction/coordinator.ts': 'how many sources of which level a job has',
  'compaction/job-choice.ts': 'the sources of jobs, by their level',
  'compaction/job-planning.ts': 'the sources of a plan, by their level',
  'compaction/proposal.ts': 'the places of sources in their tree',
  'compaction/scheduler-call.ts': 'the form of the sources of a proposal, by their level',
  'compaction/scheduling.ts': 'shows a scheduler each tree with its levels',
  'compaction/size-tiered.ts': 'picks from each level of a tree by a rule of its own',
  'compaction/takeover.ts': 'what a compactor has changed in each tree',
  'compaction/tree-plan.ts': 'which sources of a tree are free',
  'compaction/trivial-move.ts': 'whether sources of a tree have a key in common',
  'compaction/waste-picks.ts': 'picks from each level of a tree by a rule of its own',
  'db/filter-forms.ts': 'tables that are open, not a manifest',
  'db/open-writer.ts': 'whether there are segments, and the form in which none are written',
  'compact-report.ts': 'counts the levels of a report, which has all trees',
  'format/manifest-codec.ts': 'each field as it is stored',
  'format/manifest-types.ts': 'the home of the rule',
  'lsm/manifest/manifest-edits.ts': 'makes trees of trees',
  'lsm/manifest/manifest-rules.ts': 'each rule with the name of its tree',
  'lsm/manifest/tree-edits.ts': 'makes trees of trees',
  'lsm/manifest/view-ids.ts': 'trees by their names',
  'lsm/read/point-lookup.ts': 'tables that are open, not a manifest',
  'lsm/tree/table-store.ts': 'opens the tables of each tree',
  'recovery/manifest-cross-check.ts': 'whether there are segments',
  'tools/manifest-changes.ts': 'compares each tree and level with that of another manifest',
  'tools/manifest-list.ts': 'counts segments',
  'tools/stats-report.ts': 'counts the levels of a report, which has all trees',
  'tools/tree-report.ts': 'reports each tree with its levels',
  'tools/union-views.ts': 'compares a tree with itself in other manifests',
};

function searchTrees(files: readonly SourceFile[]): Seen {
  const seen: Seen = { faults: [], used: new Set() };
  for (const file of files) {
    const fields = new Set<string>();
    walk(file.ast, (node) => {
      if (ts.isPropertyAccessExpression(node)) fields.add(node.name.text);
      if (ts.isBindingElement(node)) fields.add((node.propertyName ?? node.name).getText(file.ast));
    });
    const levels = fields.has('l0') && fields.has('runs');
    if (levels || fields.has('segments')) allow(seen, TREE_WALKERS, file.path, file.path, 'a walk through trees');
  }
  return seen;
}

describe('trees', () => {
  const { faults, used } = searchTrees(readSources(SRC));

  it('are gone through by the functions of the types of manifests', () => {
    expect(faults).toEqual([]);
  });
  it('are gone through elsewhere only where that is allowed', () => {
    expect(Object.keys(TREE_WALKERS).filter((path) => !used.has(`a walk through trees ${path}`))).toEqual([]);
  });
});

describe('the law of trees sees', () => {
  it.each([
    'const t = [...m.l0, ...m.runs.flatMap((r) => r.views)];',
    'const { l0, runs } = m;',
    'for (const s of m.segments ?? []) look(s);',
    'const { segments: all } = m;',
  ])('%s', (text) => {
    expect(searchTrees([parseSource('tools/t.ts', text)]).faults).toEqual(['tools/t.ts: a walk through trees']);
  });
  it.each(['const n = m.l0.length;', 'const t = tablesOf(m);', 'const { runs } = job.spec;'])(
    'no fault in %s',
    (text) => {
      expect(searchTrees([parseSource('tools/t.ts', text)]).faults).toEqual([]);
    },
  );
});

/**
 * Files besides the formats that ask a row whether it is a tombstone or an operand, and for what. What a reader sees of the versions of
 * a key, and what a rewrite keeps of them, `lsm/rows/visibility` says: a second place would differ from it in the next release.
 */
const FLAG_READERS: Readonly<Record<string, string>> = {
  'compaction/retained-rows.ts': 'counts tombstones',
  'compaction/stretch-cursor.ts': 'refuses flags that no row has',
  'db/write-batch.ts': 'gives operations their flags',
  'db/writer.ts': 'gives rows their flags',
  'lsm/memtable/memtable.ts': 'where the value of a row is stored',
  'lsm/rows/visibility.ts': 'the home of the rules',
  'tools/row-audit.ts': 'counts rows of each kind',
};

function searchFlags(files: readonly SourceFile[]): Seen {
  const seen: Seen = { faults: [], used: new Set() };
  for (const file of files) {
    if (file.path.startsWith('format/')) continue;
    walk(file.ast, (node) => {
      if (!ts.isIdentifier(node) || ts.isImportSpecifier(node.parent)) return;
      if (/^FLAG_(TOMBSTONE|MERGE)$/.test(node.text)) {
        allow(seen, FLAG_READERS, file.path, `${file.path}:${lineOf(file.ast, node)}`, 'a flag of a row');
      }
    });
  }
  return seen;
}

describe('the rules about versions', () => {
  const { faults, used } = searchFlags(readSources(SRC));

  it('are in one file', () => {
    expect(faults).toEqual([]);
  });
  it('leave the flags of rows to those that are listed', () => {
    expect(Object.keys(FLAG_READERS).filter((path) => !used.has(`a flag of a row ${path}`))).toEqual([]);
  });
  it('are looked for by the flags that they ask', () => {
    const text = "import { FLAG_MERGE } from '../format/row-flags.ts';\nif ((flags & FLAG_MERGE) !== 0) fold();";
    expect(searchFlags([parseSource('db/t.ts', text)]).faults).toEqual(['db/t.ts:2: a flag of a row']);
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
