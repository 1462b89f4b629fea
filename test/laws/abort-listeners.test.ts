/**
 * A listener on a caller's signal is added in one file only, which takes it back: common/abort.ts. And an `AbortError` has the
 * signal's reason for its cause, never another `AbortError`.
 */
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { lineOf, parseSource, readSources, type SourceFile, walk } from '../support/source-files.ts';

const SRC = join(import.meta.dirname, '..', '..', 'src');
const OWNER = 'common/abort.ts';

/** Members that make a signal hold on to something: `AbortSignal.any` does so until each of its signals is gone. */
const HOLDS = /^(addEventListener|onabort|any)$/;

function listening(file: SourceFile): string[] {
  const faults: string[] = [];
  walk(file.ast, (node) => {
    if (!ts.isPropertyAccessExpression(node) || !HOLDS.test(node.name.text)) return;
    // Asking whether something is a signal adds nothing.
    const isCall = ts.isCallExpression(node.parent) && node.parent.expression === node;
    if (node.name.text !== 'onabort' && !isCall) return;
    if (node.name.text === 'any' && node.expression.getText(file.ast) !== 'AbortSignal') return;
    faults.push(`${file.path}:${lineOf(file.ast, node)}: ${node.name.text}`);
  });
  return faults;
}

/** Errors made of a signal in the place of a cause. */
function nested(file: SourceFile): string[] {
  const faults: string[] = [];
  walk(file.ast, (node) => {
    if (!ts.isPropertyAssignment(node) || node.name.getText(file.ast) !== 'cause') return;
    if (
      /abort|cancel/i.test(node.initializer.getText(file.ast).split('(')[0]) &&
      node.initializer.getText().includes('(')
    )
      faults.push(`${file.path}:${lineOf(file.ast, node)}`);
  });
  return faults;
}

describe('causes of aborts', () => {
  it('are the reason of the signal', () => {
    expect(readSources(SRC).flatMap(nested)).toEqual([]);
  });

  it.each(['new AbortError("x", { cause: abortError(signal) });', 'f({ cause: cancelledError(a, b, c) });'])(
    'the law sees: %s',
    (text) => {
      expect(nested(parseSource('db/x.ts', text))).toHaveLength(1);
    },
  );

  it.each(['new AbortError("x", { cause: signal.reason });', 'f({ cause: aborted });'])(
    'the law allows: %s',
    (text) => {
      expect(nested(parseSource('db/x.ts', text))).toEqual([]);
    },
  );
});

describe('listeners on signals', () => {
  it('are added in common/abort.ts only', () => {
    const files = readSources(SRC).filter((f) => f.path !== OWNER);
    expect(files.flatMap(listening)).toEqual([]);
  });

  it.each(['signal?.addEventListener("abort", stop);', 'signal.onabort = stop;', 'const s = AbortSignal.any([a, b]);'])(
    'the law sees: %s',
    (text) => {
      expect(listening(parseSource('db/x.ts', text))).toHaveLength(1);
    },
  );

  it.each(['promises.any([a, b]);', '// signal.addEventListener', 'signal.aborted;', 'typeof s.addEventListener;'])(
    'the law allows: %s',
    (text) => {
      expect(listening(parseSource('db/x.ts', text))).toEqual([]);
    },
  );
});
