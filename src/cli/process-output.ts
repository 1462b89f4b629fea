/**
 * The outputs of the process, which know whether everything that was written has arrived.
 *
 * Always holds: `finish` says how it ended. A reader that goes away (EPIPE) is one thing, which programs end with in silence; any other
 * output that cannot be written is a failure: a full disk, a lost terminal, a descriptor that cannot be written to.
 *
 * Files are written here and not by Node's stream, which forgets the rest of a chunk when the disk takes only a part of it, and
 * closed at the end, because a network disk or a quota may refuse only then.
 */
import { closeSync, fstatSync, writeSync } from 'node:fs';
import type { Output } from './printer.ts';

type StandardStream = NodeJS.WriteStream & { fd: number };

export interface ProcessOutput extends Output {
  /** Waits until everything has arrived: `gone` if the reader went away before, or the first failure. Nothing can be written afterwards. */
  finish(): Promise<Error | 'gone' | undefined>;
}

export function processOutput(stream: StandardStream): ProcessOutput {
  return isFile(stream) ? fileOutput(stream.fd) : streamOutput(stream);
}

/** Files, and devices such as `/dev/null`: whatever is written at once and never waits for a reader. */
function isFile({ fd, isTTY }: StandardStream): boolean {
  try {
    const stats = fstatSync(fd);
    return stats.isFile() || (stats.isCharacterDevice() && isTTY !== true);
  } catch {
    // What it is shows when it is written to.
    return false;
  }
}

function fileOutput(fd: number): ProcessOutput {
  let failure: Error | undefined;
  const attempt = (run: () => void) => {
    if (failure !== undefined) return;
    try {
      run();
    } catch (error) {
      failure = error as Error;
    }
  };
  return {
    write: (text) =>
      attempt(() => {
        const bytes = typeof text === 'string' ? Buffer.from(text) : text;
        for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at);
      }),
    isTerminal: false,
    columns: undefined,
    isClosed: () => failure !== undefined,
    async finish() {
      attempt(() => closeSync(fd));
      return failure;
    },
  };
}

function streamOutput(stream: StandardStream): ProcessOutput {
  let isClosed = false;
  let failure: Error | 'gone' | undefined;
  const onError = (error: NodeJS.ErrnoException) => {
    isClosed = true;
    failure ??= error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED' ? 'gone' : error;
  };
  stream.on('error', onError);
  return {
    write: (text) => void (isClosed || stream.write(text)),
    isTerminal: stream.isTTY === true,
    get columns() {
      return stream.columns;
    },
    isClosed: () => isClosed,
    async finish() {
      await new Promise<void>((resolve) => {
        stream.write('', (error) => {
          if (error) onError(error);
          resolve();
        });
      });
      return failure;
    },
  };
}
