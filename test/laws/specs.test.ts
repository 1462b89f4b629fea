/** The model's table of correspondence names what exists. */
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const readme = readFileSync('specs/README.md', 'utf8');
const table = readme.slice(readme.indexOf('## Model and code'), readme.indexOf('The network may'));
const sources = [...readme.matchAll(/`(src\/[\w/-]+\.ts)`/g)].map((m) => m[1]);

describe('the model of the commit protocol', () => {
  it('names source files that exist', () => {
    expect(sources.filter((path) => !existsSync(path))).toEqual([]);
    expect(sources.length).toBeGreaterThan(5);
  });

  it('names functions that exist in them', () => {
    const code = [
      ...new Set([
        ...sources,
        'src/lsm/manifest/epoch-guard.ts',
        'src/lsm/manifest/manifest-store.ts',
        'src/db/start-writer.ts',
      ]),
    ]
      .map((path) => readFileSync(path, 'utf8'))
      .join('\n');
    const column = table.split('\n').map((line) => line.split('|')[2] ?? '');
    const names = column.flatMap((cell) => [...cell.matchAll(/`(?:\w+\.)?(#?\w+)`/g)].map((m) => m[1]));
    expect(names.length).toBeGreaterThan(15);
    expect(names.filter((name) => !code.includes(`${name}(`))).toEqual([]);
  });

  it('explains every property, and no other', () => {
    const model = readFileSync('specs/commit-protocol.pml', 'utf8');
    const part = model.slice(model.indexOf('---- properties'), model.indexOf('#define REQUIRE'));
    const defined = [...part.matchAll(/#define (\w+) \d+/g)].map((m) => m[1]);
    const explained = readme.slice(readme.indexOf('## Properties'), readme.indexOf('## Model and code'));
    expect([...explained.matchAll(/^\| `(\w+)`/gm)].map((m) => m[1]).sort()).toEqual(defined.sort());
    expect(defined.length).toBeGreaterThan(5);
  });

  it('names steps and rules of the model', () => {
    const model = readFileSync('specs/commit-protocol.pml', 'utf8');
    const rules = readFileSync('scripts/spec.mjs', 'utf8').match(/^ {2}[A-Z_]+(?=:)/gm) ?? [];
    expect(rules.length).toBeGreaterThan(15);
    const steps = table
      .split('\n')
      .flatMap((line) => [...(line.split('|')[1] ?? '').matchAll(/`(\w+)`/g)].map((m) => m[1]));
    for (const name of [...rules.map((r) => r.trim()), ...steps]) expect(model).toMatch(new RegExp(`\\b${name}\\b`));
  });
});
