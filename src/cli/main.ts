#!/usr/bin/env node
/** The program `shaledb`: the command line bound to the process. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import * as admin from '../admin.ts';
import { SYSTEM_CLOCK } from '../common/clock.ts';
import { InvalidArgumentError, open, openReader } from '../index.ts';
import { EXIT, lostOutputText } from './exit-codes.ts';
import { FILES } from './files.ts';
import type { Output } from './printer.ts';
import { processOutput } from './process-output.ts';
import { runCommandLine } from './run.ts';

async function read(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new InvalidArgumentError('BAD_ARGUMENT', `The file ${path} cannot be read: ${(cause as Error).message}`, {
      cause,
    });
  }
}

async function readInput(): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of process.stdin) parts.push(part as Uint8Array);
  return Buffer.concat(parts);
}

/** Every tool may end at any moment and goes on when it is run again, so an interrupt needs no cleanup. */
function exitOnInterrupt(err: Output): void {
  process.once('SIGINT', () => {
    err.write(
      '\nshaledb: interrupted. Nothing is half done. Run the same command again to go on; with dump and load, add --resume.\n',
    );
    process.exit(EXIT.interrupted);
  });
}

/** Node would end with 1, which is the code of damage. */
process.on('uncaughtException', (error) => {
  process.stderr.write(`shaledb: ${error.stack ?? error.message}\n`);
  process.exit(EXIT.internal);
});

const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };
// The SDK would say on every run, in nine lines, which versions of Node its later releases want.
process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
const out = processOutput(process.stdout);
const err = processOutput(process.stderr);
exitOnInterrupt(err);
const code = await runCommandLine(process.argv.slice(2), {
  out,
  err,
  env: process.env,
  cwd: process.cwd(),
  tools: { ...admin, open, openReader },
  version,
  monotonicMs: () => SYSTEM_CLOCK.monotonicMs(),
  nowMs: () => SYSTEM_CLOCK.nowMs(),
  readFile: read,
  files: FILES,
  readInput,
});
// What was written arrives before the process ends; sockets that a store keeps open must not hold it up.
const lost = await out.finish();
if (lost instanceof Error) err.write(lostOutputText(lost, code));
const errLost = await err.finish();
process.exit(
  lost instanceof Error || errLost instanceof Error ? EXIT.outputLost : lost === 'gone' ? EXIT.readerGone : code,
);
