#!/usr/bin/env node
/** The program `shaledb`: the command line bound to the process. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import * as admin from '../admin.ts';
import { InvalidArgumentError } from '../index.ts';
import { EXIT } from './exit-codes.ts';
import type { Output } from './printer.ts';
import { runCommandLine } from './run.ts';

/** @returns an output that drops what nobody reads any more */
function outputOf(stream: NodeJS.WriteStream): Output {
  let isClosed = false;
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    isClosed = true;
  });
  return {
    write: (text) => void (isClosed || stream.write(text)),
    isTerminal: stream.isTTY === true,
    get columns() {
      return stream.columns;
    },
    isClosed: () => isClosed,
  };
}

async function read(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new InvalidArgumentError('BAD_ARGUMENT', `The file ${path} cannot be read: ${(cause as Error).message}`, {
      cause,
    });
  }
}

/** Every tool may end at any moment and goes on when it is run again, so an interrupt needs no ceremony. */
function exitOnInterrupt(err: Output): void {
  process.once('SIGINT', () => {
    err.write('\nshaledb: interrupted. Nothing is broken by that: run the same command again.\n');
    process.exit(EXIT.interrupted);
  });
}

/** Node would end with 1, which is the code of damage. */
process.on('uncaughtException', (error) => {
  process.stderr.write(`shaledb: ${error.stack ?? error.message}\n`);
  process.exit(EXIT.internal);
});

const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };
const out = outputOf(process.stdout);
const err = outputOf(process.stderr);
exitOnInterrupt(err);
const code = await runCommandLine(process.argv.slice(2), {
  out,
  err,
  env: process.env,
  tools: admin,
  version,
  readFile: read,
});
// What was written reaches a pipe before the process ends; sockets that a store keeps open must not hold it up.
process.stdout.write('', () => process.exit(code));
