/**
 * Where a command puts what it has to say: data to standard output, as text or JSON, progress to standard error.
 *
 * Always holds: of a reader that goes away (`| head`) nothing is said; whatever is written afterwards is dropped and `isClosed` makes
 * streams stop.
 */
import type { DbError } from '../index.ts';
import { type DocumentType, document, errorDocument, type Writing } from './json.ts';
import { cutToWidth, paintFor } from './paint.ts';
import { commandText, type View, visible } from './words.ts';

/** An output of the process. */
export interface Output {
  write(text: string | Uint8Array): void;
  isTerminal: boolean;
  /** Characters of a line, where that is known. */
  columns: number | undefined;
  /** Whether its reader has closed it. */
  isClosed(): boolean;
}

export interface PrinterOptions {
  out: Output;
  err: Output;
  env: Readonly<Record<string, string | undefined>>;
  monotonicMs(): number;
  json: boolean;
  redactKeys: boolean;
  quiet: boolean;
  location: string;
  root?: string;
  file?: string;
  running: string;
}

const COLUMNS_IF_UNKNOWN = 100;
/** In less nothing can be read. */
const LEAST_COLUMNS = 20;
const PROGRESS_EVERY_MS = 100;
const CLEAR_LINE = `\r${String.fromCharCode(27)}[K`;

/** Characters of a line: of the terminal, else what the environment says (COLUMNS), else 100. */
export function columnsOf(out: Output, env: Readonly<Record<string, string | undefined>>): number {
  const said = /^\d{1,4}$/.test(env['COLUMNS'] ?? '') ? Number(env['COLUMNS']) : 0;
  return out.columns ?? (said >= LEAST_COLUMNS ? said : COLUMNS_IF_UNKNOWN);
}

export class Printer {
  readonly view: View;
  readonly json: boolean;
  readonly #o: PrinterOptions;
  #progressShown = false;
  #progressAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: PrinterOptions) {
    this.#o = options;
    this.json = options.json;
    this.view = {
      paint: paintFor(options.env, options.out.isTerminal),
      columns: columnsOf(options.out, options.env),
      redactKeys: options.redactKeys,
      location: options.location,
      ...(options.root !== undefined && { root: options.root }),
      ...(options.file !== undefined && { file: options.file }),
      running: options.running,
    };
  }

  get isClosed(): boolean {
    return this.#o.out.isClosed();
  }

  lines(lines: readonly string[]): void {
    this.#clearProgress();
    this.#o.out.write(lines.map((l) => `${l}\n`).join(''));
  }

  /** Text as it is. */
  text(text: string): void {
    this.#clearProgress();
    this.#o.out.write(text);
  }

  /** Bytes as they are. */
  bytes(bytes: Uint8Array): void {
    this.#clearProgress();
    this.#o.out.write(bytes);
  }

  /** What people should know besides the data. */
  note(lines: readonly string[]): void {
    this.#clearProgress();
    this.#o.err.write(lines.map((l) => `${l}\n`).join(''));
  }

  document(type: DocumentType, value: object): void {
    this.lines([document(type, value, this.#writing())]);
  }

  /** The report as a document, or in words. */
  report(type: DocumentType, value: object, words: () => readonly string[]): void {
    if (this.json) this.document(type, value);
    else this.lines(words());
  }

  /** What is under way; on a terminal one line that is overwritten, at most ten times a second, elsewhere nothing. */
  progress(text: string): void {
    if (this.#o.quiet || !this.#o.err.isTerminal) return;
    const nowMs = this.#o.monotonicMs();
    if (nowMs - this.#progressAtMs < PROGRESS_EVERY_MS) return;
    this.#progressAtMs = nowMs;
    // A line that is longer than the terminal could not be overwritten.
    const columns = columnsOf(this.#o.err, this.#o.env);
    this.#o.err.write(`${CLEAR_LINE}${cutToWidth(visible(text), columns - 1)}`);
    this.#progressShown = true;
  }

  /** What went wrong: for people on standard error, and as a document on standard output if JSON is wanted. */
  failure(lines: readonly string[], error?: DbError): void {
    this.#clearProgress();
    this.#o.err.write(lines.map((l) => `${l}\n`).join(''));
    if (this.json && error !== undefined) this.lines([errorDocument(error, this.#writing())]);
  }

  /** For what is written to standard error, which may be a terminal when standard output is none. */
  get errView(): View {
    const { env, err } = this.#o;
    return { ...this.view, paint: paintFor(env, err.isTerminal), columns: columnsOf(err, env) };
  }

  #writing(): Writing {
    const { view } = this;
    return { redactKeys: view.redactKeys, command: (command) => commandText(command, view) };
  }

  #clearProgress(): void {
    if (!this.#progressShown) return;
    this.#o.err.write(CLEAR_LINE);
    this.#progressShown = false;
  }
}
