/** Methods of handles settle through `db/turns.ts`: a promise that is settled from the beginning takes no turn of the event loop. */
import { join } from 'node:path';
import ts from 'typescript';
import { expect, it } from 'vitest';
import { lineOf, parseSource, readSources, type SourceFile, walk } from '../support/source-files.ts';

const SRC = join(import.meta.dirname, '..', '..', 'src');
/** What a public method returns is made in these. */
const HANDLES = /^db\/(db|late-reads|range-reads|reader|reads|recovering-db|scan-iterator|snapshot|writer)\.ts$/;

function settledAtOnce(file: SourceFile): string[] {
  const faults: string[] = [];
  walk(file.ast, (node) => {
    if (!ts.isPropertyAccessExpression(node) || node.expression.getText(file.ast) !== 'Promise') return;
    if (/^(resolve|reject)$/.test(node.name.text)) faults.push(`${file.path}:${lineOf(file.ast, node)}`);
  });
  return faults;
}

it('no promise of a handle is settled from the beginning', () => {
  const files = readSources(SRC).filter(({ path }) => HANDLES.test(path));
  expect(files).toHaveLength(9);
  expect(files.flatMap(settledAtOnce)).toEqual([]);
});

it.each(['return Promise.reject(error);', 'const p = Promise.resolve(1);'])('the law sees: %s', (text) => {
  expect(settledAtOnce(parseSource('db/x.ts', text))).toHaveLength(1);
});

it.each(['return Promise.race([a, b]);', 'new Promise((resolve, reject) => resolve(1));'])(
  'the law allows: %s',
  (text) => {
    expect(settledAtOnce(parseSource('db/x.ts', text))).toEqual([]);
  },
);
