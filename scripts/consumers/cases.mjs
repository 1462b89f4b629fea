// The cases of `npm run test:consumers`: how each gets the package into a program, and what it runs. A case throws if anything is wrong.
//
// What bundlers make runs in a directory of its own, where no package is installed.
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nodeProgram } from '../tools-from-registry.mjs';
import {
  ALL_TYPES,
  COMMON_JS,
  ESM,
  RESPONSE,
  ROLLUP_CONFIG,
  STACK,
  TYPESCRIPT,
  VITE_CONFIG,
  VITEST,
  WITHOUT_OPTIONAL,
} from './programs.mjs';
import { NODE_RELEASES, TYPESCRIPTS } from './tools.mjs';

const EXERCISE = readFileSync(join(dirname(fileURLToPath(import.meta.url)), 'exercise.mjs'), 'utf8');
const FILES = { 'exercise.mjs': EXERCISE, 'program.mjs': ESM, 'program.cjs': COMMON_JS };
const NODE = process.execPath;

const both = (context, directory, node) =>
  ['program.mjs', 'program.cjs'].map((file) => runProgram(context, directory, [file], node));

/** Runs a program of a project on a directory and on S3. */
function runProgram(context, directory, args, program = NODE) {
  return context.run(program, [...args, ...context.locations()], { cwd: directory, env: context.env });
}

/** Where a bundle is put: nothing is installed there, nor above. */
function alone(context, name, type) {
  for (let at = context.work; ; at = dirname(at)) {
    if (existsSync(join(at, 'node_modules'))) throw new Error(`${at} has node_modules`);
    if (dirname(at) === at) break;
  }
  const directory = join(context.work, `alone-${name}`);
  mkdirSync(directory);
  writeFileSync(join(directory, 'package.json'), JSON.stringify({ type }));
  return directory;
}

/** Files that an entry of an installed package loads at once, with those that they load; packages as they are named. */
function loadedFiles(file, found = new Set()) {
  if (found.has(file)) return found;
  found.add(file);
  for (const [, name] of readFileSync(file, 'utf8').matchAll(/^(?:import|export)\b[^'"]*['"]([^'"]+)['"];?$/gm)) {
    if (name.startsWith('.')) loadedFiles(join(dirname(file), name), found);
    else found.add(name);
  }
  return found;
}

/** CPU time of the import of a package in a fresh process, in ms, minus that of an empty one: medians. */
async function importMs(context, cwd) {
  const cpuMs = async (code) => {
    const end = 'const { user, system } = process.cpuUsage(); console.log((user + system) / 1000)';
    return Number(await context.run(NODE, ['--input-type=module', '-e', `${code}; ${end}`], { cwd }));
  };
  const figures = [[], []];
  for (let round = 0; round < 9; round++) {
    figures[0].push(await cpuMs(''));
    figures[1].push(await cpuMs("await import('shaledb')"));
  }
  const [empty, whole] = figures.map((each) => each.sort((a, b) => a - b)[each.length >> 1]);
  return whole - empty;
}

/** Deterministic stand-in for the time that an import may take, 100 ms of CPU. */
const MOST_FILES = 24;

// ---- programs of Node and of other runtimes

const ofNode = [
  {
    name: 'ESM, each codec',
    use: (context) => {
      const directory = context.project('esm', context.packages, FILES);
      return runProgram(context, directory, ['program.mjs', '--codecs', 'none,zlib,lz4,snappy,zstd']);
    },
  },
  {
    name: 'CommonJS',
    use: (context) => runProgram(context, context.project('cjs', context.packages, FILES, 'commonjs'), ['program.cjs']),
  },
  {
    name: 'an import: few files, no native code, no SDK',
    use: async (context) => {
      const directory = context.project('import', context.packages, {});
      const loaded = [...loadedFiles(join(directory, 'node_modules/shaledb/dist/index.js'))];
      const own = loaded.filter((name) => name.startsWith(directory));
      const packages = loaded.filter((name) => !own.includes(name) && !name.startsWith('node:'));
      if (own.length > MOST_FILES) throw new Error(`loads ${own.length} files`);
      if (packages.join() !== 'crc-32') throw new Error(`loads ${packages}`);
      return { note: `${own.length} files, ${Math.round(await importMs(context, directory))} ms of CPU time` };
    },
  },
  {
    name: 'source maps',
    use: (context) => {
      const directory = context.project('maps', context.packages, { 'stack.mjs': STACK });
      return context.run(NODE, ['--enable-source-maps', 'stack.mjs'], { cwd: directory });
    },
  },
  {
    name: '--omit=optional',
    use: async (context) => {
      const directory = context.project('omit', context.withoutOptional, { ...FILES, 'missing.mjs': WITHOUT_OPTIONAL });
      await runProgram(context, directory, ['program.mjs']);
      await context.run(NODE, ['missing.mjs', 'memory:'], { cwd: directory });
    },
  },
  {
    name: 'the command line, --omit=optional',
    use: async (context) => {
      const directory = context.project('cli', context.withoutOptional, FILES);
      const [location] = context.locations();
      await context.run(NODE, ['program.mjs', location], { cwd: directory });
      const shaledb = join(directory, 'node_modules', 'shaledb', 'dist', 'cli', 'main.js');
      const version = await context.run(NODE, [shaledb, '--version'], { cwd: directory });
      if (!/^\d+\.\d+\.\d+$/.test(version.trim())) throw new Error(`--version says ${version}`);
      const check = await context.run(NODE, [shaledb, 'doctor', `${location}/none`], { cwd: directory });
      if (!/clean/i.test(check)) throw new Error(`doctor says ${check}`);
    },
  },
  {
    name: 'vitest',
    use: async (context) => {
      const directory = context.project('vitest', context.packages, { ...FILES, 'use.test.mjs': VITEST });
      symlinkSync(join(context.tools, 'node_modules', 'vitest'), join(directory, 'node_modules', 'vitest'));
      await context.run(NODE, [join(context.tools, 'node_modules/vitest/vitest.mjs'), 'run'], {
        cwd: directory,
        env: { ...context.env, CONSUMER_ARGS: context.locations().join(' ') },
      });
    },
  },
];

const ofRuntimes = [
  ...NODE_RELEASES.map((release) => ({
    name: `Node ${release}`,
    use: async (context) => {
      const directory = context.project(`node-${release}`, context.packages, FILES);
      await Promise.all(both(context, directory, nodeProgram(context.tools, release)));
    },
  })),
  {
    name: 'Bun',
    use: (context) => {
      const bun = join(context.tools, 'node_modules/@oven/bun-linux-x64/bin/bun');
      return runProgram(context, context.project('bun', context.packages, FILES), ['run', 'program.mjs'], bun);
    },
  },
  {
    name: 'Deno',
    use: async (context) => {
      const deno = join(context.tools, 'node_modules/@deno/linux-x64-glibc/deno');
      const directory = context.project('deno', context.packages, { ...FILES, 'program.ts': TYPESCRIPT });
      await context.run(deno, ['check', 'program.ts'], { cwd: directory });
      await runProgram(context, directory, ['run', '--no-prompt', '--allow-all', 'program.mjs'], deno);
    },
  },
];

// ---- TypeScript

/** How a project finds modules, what it compiles to, and which libraries it has beyond that of the language. */
const RESOLUTIONS = {
  node16: { module: 'node16', lib: ['es2022'] },
  nodenext: { module: 'nodenext', lib: ['es2022', 'dom'] },
  bundler: { module: 'esnext', moduleResolution: 'bundler', lib: ['es2022', 'dom'] },
};

const STRICT = {
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  skipLibCheck: false,
  types: [],
  target: 'es2022',
  outDir: 'out',
};

function typescriptCase(version, name, settings, type) {
  const files = ['program.ts', 'all.ts', ...(settings.lib?.includes('dom') ? ['response.ts'] : [])];
  return {
    name: `TypeScript ${version}, ${name}`,
    use: async (context) => {
      const directory = context.project(
        `ts-${version}-${name}`,
        context.packages,
        {
          'program.ts': TYPESCRIPT,
          'all.ts': ALL_TYPES,
          'response.ts': RESPONSE,
          'tsconfig.json': JSON.stringify({ compilerOptions: { ...STRICT, ...settings }, files }),
        },
        type,
      );
      const tsc = join(context.tools, 'node_modules', TYPESCRIPTS[version], 'bin', 'tsc');
      await context.run(NODE, [tsc, '-p', '.'], { cwd: directory });
      await runProgram(context, directory, ['out/program.js']);
    },
  };
}

const ofTypeScript = [
  ...Object.keys(TYPESCRIPTS).flatMap((version) =>
    Object.entries(RESOLUTIONS).map(([name, settings]) => typescriptCase(version, name, settings, 'module')),
  ),
  typescriptCase('5.4', 'CommonJS by node10', { module: 'commonjs', moduleResolution: 'node10' }, 'commonjs'),
  typescriptCase('5.9', 'CommonJS by nodenext', { module: 'nodenext' }, 'commonjs'),
];

// ---- bundlers

const FORMATS = { esm: 'module', cjs: 'commonjs' };

function esbuildCase(format, entries, threads) {
  const name = `esbuild, ${format}${entries.length > 1 ? ' with the file of threads' : ''}`;
  return {
    name,
    use: async (context) => {
      const key = `esbuild-${format}-${entries.length}`;
      const directory = context.project(key, context.packages, FILES);
      const out = alone(context, key, FORMATS[format]);
      const esbuild = join(context.tools, 'node_modules/esbuild/bin/esbuild');
      const args = [...entries, '--bundle', '--platform=node', `--format=${format}`, `--outdir=${out}`];
      await context.run(NODE, [esbuild, ...args], { cwd: directory });
      await runProgram(context, out, ['program.js', '--threads', threads]);
    },
  };
}

function rollupCase(format) {
  return {
    name: `Rollup, ${format}`,
    use: async (context) => {
      const out = alone(context, `rollup-${format}`, FORMATS[format]);
      const plugins = ['node-resolve', 'commonjs', 'json'].map((plugin) =>
        join(context.tools, `node_modules/@rollup/plugin-${plugin}/dist/es/index.js`),
      );
      const config = ROLLUP_CONFIG(plugins, format, out);
      const directory = context.project(`rollup-${format}`, context.packages, {
        ...FILES,
        'rollup.config.mjs': config,
      });
      const rollup = join(context.tools, 'node_modules/rollup/dist/bin/rollup');
      await context.run(NODE, [rollup, '--config', 'rollup.config.mjs'], { cwd: directory });
      await runProgram(context, out, ['program.js', '--threads', 'none']);
    },
  };
}

function viteCase(format) {
  return {
    name: `Vite, ${format}`,
    use: async (context) => {
      const out = alone(context, `vite-${format}`, FORMATS[format]);
      const config = VITE_CONFIG(format, out);
      const directory = context.project(`vite-${format}`, context.packages, { ...FILES, 'vite.config.mjs': config });
      await context.run(NODE, [join(context.tools, 'node_modules/vite/bin/vite.js'), 'build'], { cwd: directory });
      writeFileSync(join(out, 'package.json'), JSON.stringify({ type: FORMATS[format] }));
      await runProgram(context, out, ['program.js', '--threads', 'none']);
    },
  };
}

const ofBundlers = [
  esbuildCase('esm', ['program.mjs'], 'none'),
  esbuildCase('cjs', ['program.mjs'], 'none'),
  esbuildCase('esm', ['program.mjs', 'merge-thread=shaledb/merge-thread'], 'expected'),
  ...['esm', 'cjs'].flatMap((format) => [rollupCase(format), viteCase(format)]),
];

/** Other runtimes are there on Linux only. */
export function casesOf({ isLinux }) {
  return [...ofNode, ...(isLinux ? ofRuntimes : []), ...ofTypeScript, ...ofBundlers];
}
