// What `npm run test:consumers` uses the package with, in exact versions; a new one is chosen here.
import { nodePackage } from '../tools-from-registry.mjs';

/** The least one that package.json allows, and the newest of later ones. */
export const NODE_RELEASES = ['20.19.0', '22', '24'];
/** Versions of TypeScript, and the names under which they are installed beside each other. */
export const TYPESCRIPTS = { 5.4: 'ts54', 5.6: 'ts56', 5.9: 'ts59', '6.0': 'ts60' };

export const TOOLS = {
  everywhere: {
    ts54: 'npm:typescript@5.4.5',
    ts56: 'npm:typescript@5.6.3',
    ts59: 'npm:typescript@5.9.3',
    ts60: 'npm:typescript@6.0.3',
    esbuild: '0.28.2',
    rollup: '4.68.8',
    '@rollup/plugin-node-resolve': '16.0.3',
    '@rollup/plugin-commonjs': '29.0.3',
    '@rollup/plugin-json': '6.1.0',
    vite: '8.3.8',
    vitest: '4.1.12',
  },
  linux: {
    ...Object.fromEntries(NODE_RELEASES.map(nodePackage)),
    '@oven/bun-linux-x64': '1.4.5',
    '@deno/linux-x64-glibc': '2.9.6',
  },
  /** Optional peers of the package, which the first projects have. */
  codecs: ['snappy@7.4.3', '@bokuweb/zstd-wasm@0.0.27'],
};
