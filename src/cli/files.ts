/** Files that commands read and write, as one object, so that a test can give others. */
import { constants, type FileHandle, open } from 'node:fs/promises';
import { InvalidArgumentError } from '../index.ts';

/** A file that is written from its beginning, or from a place in it. */
export interface OutputFile {
  write(text: string): Promise<void>;
  /** Closes it when everything is on the disk. */
  finish(): Promise<void>;
  /** Closes it as it is; after `finish` nothing. */
  close(): Promise<void>;
}

export interface Files {
  /** The lines of a file without their ends, and in `bytes` where the last of them ends. `-`: standard input. */
  lines(path: string): AsyncIterable<InputLine>;
  /** Makes a new file, or with `from` goes on in one after so many bytes; what followed them is cut off. */
  output(path: string, from?: number): Promise<OutputFile>;
}

export interface InputLine {
  text: string;
  /** The first byte after the line, with its end. */
  end: number;
  /** False: the end of the file came before the end of the line. */
  isWhole: boolean;
}

export const STANDARD_INPUT = '-';
/** A line that is longer is no line of a dump: a key and a value of 4 GiB could not be written either. */
const MOST_LINE_BYTES = 512 * 1024 * 1024;

export const FILES: Files = {
  lines: (path) => linesOf(path === STANDARD_INPUT ? process.stdin : readingOf(path)),
  output: async (path, from) => fileOutput(await openedForWriting(path, from), from),
};

async function* readingOf(path: string): AsyncIterable<Uint8Array> {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (cause) {
    throw cannotUse(path, 'read', cause);
  }
  try {
    yield* file.createReadStream({ autoClose: false, highWaterMark: 1 << 18 });
  } catch (cause) {
    throw cannotUse(path, 'read', cause);
  } finally {
    await file.close();
  }
}

const LINE_END = 0x0a;

export async function* linesOf(parts: AsyncIterable<Uint8Array>): AsyncIterable<InputLine> {
  let begun: Uint8Array[] = [];
  let begunBytes = 0;
  let end = 0;
  for await (const part of parts) {
    let from = 0;
    for (let at = part.indexOf(LINE_END); at >= 0; at = part.indexOf(LINE_END, from)) {
      const bytes = Buffer.concat([...begun, part.subarray(from, at)]);
      end += bytes.length + 1;
      yield { text: textOf(bytes), end, isWhole: true };
      begun = [];
      begunBytes = 0;
      from = at + 1;
    }
    begun.push(part.slice(from));
    begunBytes += part.length - from;
    if (begunBytes > MOST_LINE_BYTES)
      throw new InvalidArgumentError(
        'BAD_ARGUMENT',
        `A line is longer than ${MOST_LINE_BYTES} bytes: this is no dump.`,
      );
  }
  if (begunBytes > 0) yield { text: textOf(Buffer.concat(begun)), end: end + begunBytes, isWhole: false };
}

/** Bytes that are no UTF-8 become what no JSON outside of a string has, and inside one what no dump has. */
function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return '\u0000 (bytes that are no UTF-8)';
  }
}

async function openedForWriting(path: string, from: number | undefined): Promise<FileHandle> {
  const { O_CREAT, O_EXCL, O_RDWR, O_WRONLY } = constants;
  try {
    return await open(path, from === undefined ? O_CREAT | O_EXCL | O_WRONLY : O_RDWR);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST')
      throw new InvalidArgumentError(
        'BAD_ARGUMENT',
        `The file ${path} exists, and nothing is overwritten: name another one, or go on in it with --resume.`,
        { cause },
      );
    throw cannotUse(path, 'written', cause);
  }
}

async function fileOutput(file: FileHandle, from = 0): Promise<OutputFile> {
  let at = from;
  let isOpen = true;
  await file.truncate(from);
  const close = async () => {
    if (isOpen) await file.close();
    isOpen = false;
  };
  return {
    async write(text) {
      const bytes = Buffer.from(text);
      for (let sent = 0; sent < bytes.length; ) {
        const { bytesWritten } = await file.write(bytes, sent, bytes.length - sent, at);
        sent += bytesWritten;
        at += bytesWritten;
      }
    },
    async finish() {
      await file.sync();
      await close();
    },
    close,
  };
}

function cannotUse(path: string, how: 'read' | 'written', cause: unknown): InvalidArgumentError {
  const message = `The file ${path} cannot be ${how}: ${(cause as Error).message}`;
  return new InvalidArgumentError('BAD_ARGUMENT', message, { cause });
}
