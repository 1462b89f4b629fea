/** The documents of the models name what exists, in the models and in the source. */
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const readme = readFileSync('specs/README.md', 'utf8');
const cases = readFileSync('scripts/spec-cases.mjs', 'utf8');
const between = (text: string, from: string, to: string) => text.slice(text.indexOf(from), text.indexOf(to));

interface Model {
  file: string;
  /** Of it the document says what it is about, and of its cases. */
  text: string;
  cases: string;
  properties: string;
  table: string;
  /** Files of functions that are named without them. */
  besides: readonly string[];
}

const SECOND = '# Jobs, tables and the collector';
const SECOND_CASES = '// ---- compaction.pml';

const MODELS: readonly Model[] = [
  {
    file: 'specs/commit-protocol.pml',
    text: readme.slice(0, readme.indexOf(SECOND)),
    cases: cases.slice(0, cases.indexOf(SECOND_CASES)),
    properties: between(readme, '## Properties\n', '## Model and code'),
    table: between(readme, '## Model and code', 'The network may'),
    besides: ['src/lsm/manifest/epoch-guard.ts', 'src/lsm/manifest/manifest-store.ts', 'src/db/start-writer.ts'],
  },
  {
    file: 'specs/compaction.pml',
    text: readme.slice(readme.indexOf(SECOND)),
    cases: cases.slice(cases.indexOf(SECOND_CASES)),
    properties: between(readme, '## Properties of jobs', '## Jobs and code'),
    table: readme.slice(readme.indexOf('## Jobs and code')).split('**Time.**')[0]!,
    besides: ['src/lsm/manifest/versioned-log.ts'],
  },
];

describe.each(MODELS)('the model $file', ({ file, text, cases: own, properties, table, besides }) => {
  const model = readFileSync(file, 'utf8');
  const sources = [...text.matchAll(/`(src\/[\w/-]+\.ts)`/g)].map((m) => m[1]!);

  it('names source files that exist', () => {
    expect(sources.filter((path) => !existsSync(path))).toEqual([]);
    expect(sources.length).toBeGreaterThan(5);
  });

  it('names functions that exist in them', () => {
    const code = [...new Set([...sources, ...besides])].map((path) => readFileSync(path, 'utf8')).join('\n');
    const column = table.split('\n').map((line) => line.split('|')[2] ?? '');
    const names = column.flatMap((cell) => [...cell.matchAll(/`(?:\w+\.)?(#?\w+)`/g)].map((m) => m[1]!));
    expect(names.length).toBeGreaterThan(15);
    expect(names.filter((name) => !code.includes(`${name}(`))).toEqual([]);
  });

  it('explains every property, and no other', () => {
    const part = between(model, '---- properties', '#define REQUIRE');
    const defined = [...part.matchAll(/#define (\w+) \d+/g)].map((m) => m[1]);
    expect([...properties.matchAll(/^\| `(\w+)`/gm)].map((m) => m[1]).sort()).toEqual(defined.sort());
    expect(defined.length).toBeGreaterThan(5);
  });

  it('has the rules of its cases, and the steps that the document names', () => {
    const rules = [...own.matchAll(/^ {2,4}'?([A-Z][A-Z0-9_]+(?: [A-Z0-9_]+)*)'?:/gm)].flatMap((m) => m[1]!.split(' '));
    expect(rules.length).toBeGreaterThan(15);
    const steps = table
      .split('\n')
      .flatMap((line) => [...(line.split('|')[1] ?? '').matchAll(/`(\w+)`/g)].map((m) => m[1]!));
    for (const name of [...rules, ...steps]) expect(model).toMatch(new RegExp(`\\b${name}\\b`));
  });
});
