/**
 * Nothing hidden is nondeterministic: time, timers and randomness reach the source only through common/clock.ts and
 * common/random.ts, and nothing moves work to other threads, whose order of completion no test can own: zlib's pool is not used, and
 * threads for merges are started in one file, which virtual time never reaches.
 */
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { lineOf, parseSource, readSources, type SourceFile, walk } from '../support/source-files.ts';

const SRC = join(import.meta.dirname, '..', '..', 'src');
const OWNERS = new Set(['common/clock.ts', 'common/random.ts']);
/** Measures the event loop for those who ask, which nothing but a warning and a metric depends on. */
const MEASURES_LOOP = 'common/loop-delay.ts';

const GLOBALS = new Set(['Date', 'performance', 'setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask']);
/** Object -> members that bring in time or chance. */
const MEMBERS: Record<string, RegExp> = {
  Math: /^random$/,
  process: /^(hrtime|nextTick|uptime)$/,
  AbortSignal: /^timeout$/,
  crypto: /^(random|getRandomValues|webcrypto)/,
  zlib: /^(?!constants$|crc32$|.*Sync$)/,
  worker_threads: /^(?!markAsUntransferable$)/,
};
const MODULES = new Set(['timers', 'timers/promises', 'perf_hooks', 'child_process', 'cluster']);
/** One starts threads, the other is what they run. */
const THREAD_FILES = new Set(['compaction/thread.ts', 'compaction/merge-thread.ts']);
/** Module -> exports that bring in time or chance. */
const MODULE_EXPORTS: Record<string, RegExp> = {
  crypto: MEMBERS['crypto']!,
  zlib: MEMBERS['zlib']!,
  worker_threads: MEMBERS['worker_threads']!,
};

function nondeterminism(file: SourceFile): string[] {
  const faults: string[] = [];
  // Names under which this file knows a module as a whole, e.g. `import * as c from 'node:crypto'`.
  const aliases = new Map<string, string>(Object.keys(MEMBERS).map((name) => [name, name]));
  const fault = (node: ts.Node, what: string) => faults.push(`${file.path}:${lineOf(file.ast, node)}: ${what}`);

  walk(file.ast, (node) => {
    if (ts.isImportDeclaration(node) && ts.isStringLiteral(node.moduleSpecifier)) {
      const module = node.moduleSpecifier.text.replace(/^node:/, '');
      if (MODULES.has(module) && !(module === 'perf_hooks' && file.path === MEASURES_LOOP))
        fault(node, `imports ${module}`);
      const isThreadFile = module === 'worker_threads' && THREAD_FILES.has(file.path);
      const banned = isThreadFile ? undefined : MODULE_EXPORTS[module];
      const bindings = node.importClause?.namedBindings;
      if (banned !== undefined) {
        if (node.importClause?.name) aliases.set(node.importClause.name.text, module);
        if (bindings && ts.isNamespaceImport(bindings)) aliases.set(bindings.name.text, module);
        if (bindings && ts.isNamedImports(bindings) && !node.importClause?.isTypeOnly) {
          for (const element of bindings.elements) {
            const name = (element.propertyName ?? element.name).text;
            if (!element.isTypeOnly && banned.test(name)) fault(element, `${module}.${name}`);
          }
        }
      }
    } else if (ts.isPropertyAccessExpression(node)) {
      const object = node.expression;
      if (!ts.isIdentifier(object)) return;
      const known = aliases.get(object.text);
      if (known !== undefined && MEMBERS[known]!.test(node.name.text)) fault(node, `${known}.${node.name.text}`);
      if (object.text === 'globalThis' && GLOBALS.has(node.name.text)) fault(node, node.name.text);
    } else if (ts.isIdentifier(node) && GLOBALS.has(node.text) && isValueUse(node)) fault(node, node.text);
  });
  return faults;
}

/** Whether the identifier stands for the global's value: not a type, not a member's or property's name. */
function isValueUse(node: ts.Identifier): boolean {
  const parent = node.parent;
  // Imports are judged by their module.
  if (ts.isTypeReferenceNode(parent) || ts.isQualifiedName(parent) || ts.isImportSpecifier(parent)) return false;
  if (ts.isPropertyAccessExpression(parent) && parent.name === node) return false;
  if (ts.isBindingElement(parent) || ts.isShorthandPropertyAssignment(parent)) return true;
  const isOwnName = 'name' in parent && parent.name === node;
  return !isOwnName;
}

describe('determinism', () => {
  it('time, timers, randomness and thread-pool compression stay out of the source', () => {
    const files = readSources(SRC).filter((f) => !OWNERS.has(f.path));
    expect(files.flatMap(nondeterminism)).toEqual([]);
  });

  it.each([
    'const t = Date.now();',
    'const d = new Date();',
    'const t = performance.now();',
    'const t = globalThis.performance;',
    'const { performance: p } = globalThis;',
    'const r = Math.random();',
    'setTimeout(() => {}, 1);',
    'const wait = { setTimeout };',
    'await new Promise((resolve) => setImmediate(resolve));',
    'queueMicrotask(() => {});',
    'const t = process.hrtime.bigint();',
    'process.nextTick(() => {});',
    'const signal = AbortSignal.timeout(5);',
    "import { setTimeout as wait } from 'node:timers/promises';",
    "import { randomBytes } from 'node:crypto';",
    "import { randomUUID as id } from 'crypto';",
    "import * as c from 'node:crypto'; c.randomInt(3);",
    'crypto.getRandomValues(new Uint8Array(4));',
    "import { deflate } from 'node:zlib';",
    "import { Worker } from 'node:worker_threads';",
    "import * as threads from 'worker_threads'; new threads.Worker(file);",
    "import { spawn } from 'node:child_process';",
    "import zlib from 'node:zlib'; zlib.inflate(x, done);",
  ])('the law sees: %s', (text) => {
    expect(nondeterminism(parseSource('db/x.ts', text)).length).toBe(1);
  });

  it.each([
    "import { createHash } from 'node:crypto';",
    "import { markAsUntransferable } from 'node:worker_threads';",
    "import { deflateSync, crc32, constants } from 'node:zlib';",
    "import zlib from 'node:zlib'; zlib.inflateSync(x);",
    'const t = clock.setTimeout;',
    'interface Head { lastModified: Date }',
    "// Date.now() in a comment\nconst s = 'Math.random()';",
    'const x = { performance: 1 };',
  ])('the law allows: %s', (text) => {
    expect(nondeterminism(parseSource('db/x.ts', text))).toEqual([]);
  });
});
