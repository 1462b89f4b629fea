/**
 * A cast through `unknown` switches the compiler off. Each one in the source is listed here with what justifies it; the classes of
 * a database are what their interfaces say, so none is cast to one of those.
 */
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { lineOf, parseSource, readSources, type SourceFile, walk } from '../support/source-files.ts';

const SRC = join(import.meta.dirname, '..', '..', 'src');

/** `file: type` -> why. */
const ALLOWED: Readonly<Record<string, string>> = {
  'common/errors.ts: { brand: string }': 'a static field of the own class, which has no type of its own',
  'lsm/read/visible-rows.ts: MayBeDamaged': 'a field that only rows of one cursor have, without a check for each row',
  'store/s3-client.ts: { endpoint?: () => Promise<{ hostname?: string }>; serviceConfiguredEndpoint?: () => Promise<string | undefined>; }':
    'what the settings of the SDK come to, which its types hide',
};

interface Cast {
  at: string;
  key: string;
}

function casts({ path, ast }: SourceFile): Cast[] {
  const found: Cast[] = [];
  walk(ast, (node) => {
    if (!ts.isAsExpression(node) || !ts.isAsExpression(node.expression)) return;
    if (node.expression.type.kind !== ts.SyntaxKind.UnknownKeyword) return;
    const type = node.type.getText(ast).replace(/\s+/g, ' ');
    found.push({ at: `${path}:${lineOf(ast, node)}`, key: `${path}: ${type}` });
  });
  return found;
}

describe('casts through unknown', () => {
  const found = readSources(SRC).flatMap(casts);

  it('are only where they are listed', () => {
    expect(found.filter(({ key }) => ALLOWED[key] === undefined)).toEqual([]);
  });

  it('are listed only where they are', () => {
    const used = new Set(found.map(({ key }) => key));
    expect(Object.keys(ALLOWED).filter((key) => !used.has(key))).toEqual([]);
  });

  it('are found by this law', () => {
    const source = parseSource(
      'db/x.ts',
      'const db = make() as unknown as Db;\nconst n = x as unknown;\nconst y = x as Db;',
    );
    expect(casts(source)).toEqual([{ at: 'db/x.ts:1', key: 'db/x.ts: Db' }]);
  });
});
