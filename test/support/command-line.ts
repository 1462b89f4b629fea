/** The command line without a process: tools that a test gives, and what was written. */
import type { ExitCode } from '../../src/cli/exit-codes.ts';
import { FILES, type Files } from '../../src/cli/files.ts';
import { runCommandLine } from '../../src/cli/run.ts';
import type { Tools } from '../../src/cli/tools.ts';

export interface Ran {
  code: ExitCode;
  out: string;
  err: string;
}

export interface RunOptions {
  tools?: Partial<Tools>;
  env?: Record<string, string>;
  isTerminal?: boolean;
  /** Characters of a line of the terminal; default 80, null where that is not known. */
  columns?: number | null;
  /** Nobody reads standard output any more once it has got so many writes. */
  closedAfter?: number;
  /** Default `/cwd`. */
  cwd?: string;
  /** For how often progress is shown. Default: a second passes between two calls. */
  monotonicMs?: () => number;
  /** The clock of the machine. */
  nowMs?: number;
  /** Default: files of the machine. */
  fileAccess?: Files;
  /** Standard input. */
  input?: Uint8Array;
  files?: Record<string, Uint8Array>;
}

/** Every tool that the test does not give fails the call. */
export function toolsWith(given: Partial<Tools>): Tools {
  return new Proxy(given, {
    get: (tools, name) => {
      const tool = tools[name as keyof Tools];
      if (tool === undefined) throw new Error(`the command called ${String(name)}`);
      return tool;
    },
  }) as Tools;
}

export async function runWith(words: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const written = { out: [] as string[], err: [] as string[] };
  const isTerminal = options.isTerminal ?? false;
  let nowMs = 0;
  const output = (to: string[], closedAfter: number) => ({
    write: (text: string | Uint8Array) =>
      void to.push(typeof text === 'string' ? text : Buffer.from(text).toString('latin1')),
    isTerminal,
    columns: options.columns === null ? undefined : (options.columns ?? 80),
    isClosed: () => to.length >= closedAfter,
  });
  const code = await runCommandLine(words, {
    out: output(written.out, options.closedAfter ?? Number.POSITIVE_INFINITY),
    err: output(written.err, Number.POSITIVE_INFINITY),
    env: options.env ?? {},
    cwd: options.cwd ?? '/cwd',
    monotonicMs: options.monotonicMs ?? (() => (nowMs += 1000)),
    tools: toolsWith(options.tools ?? {}),
    version: '0.1.0',
    nowMs: () => options.nowMs ?? 1_796_000_000_000,
    readInput: async () => options.input ?? new Uint8Array(),
    files: options.fileAccess ?? FILES,
    readFile: async (path) => {
      const bytes = options.files?.[path];
      if (bytes === undefined) throw new Error(`no file ${path}`);
      return bytes;
    },
  });
  return { code, out: written.out.join(''), err: written.err.join('') };
}

/** What is iterated, with the other members of a stream's report. */
export async function* stream<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}
