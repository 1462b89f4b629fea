/** The logger that a caller may bring: its shape, the ones that are used where none is brought, and what keeps its failures away. */
import { describeThrown, guarded } from './callbacks.ts';

/** Where messages go. Any object with these methods works (pino, console); the default says warnings and errors on stderr. */
export interface Logger {
  /** Details for finding a fault. The default drops them. */
  debug(message: string, details?: Record<string, unknown>): void;
  /** Progress and normal events. The default drops them. */
  info(message: string, details?: Record<string, unknown>): void;
  /** What needs attention, while everything still works. */
  warn(message: string, details?: Record<string, unknown>): void;
  /** What failed, and damage that may take rows away. */
  error(message: string, details?: Record<string, unknown>): void;
}

function write(level: string, message: string, details?: Record<string, unknown>): void {
  const tail =
    details === undefined ? '' : ` ${JSON.stringify(details, (_k, v) => (typeof v === 'bigint' ? v.toString() : v))}`;
  process.stderr.write(`shaledb ${level}: ${message}${tail}\n`);
}

export const STDERR_LOGGER: Logger = {
  debug() {},
  info() {},
  warn: (message, details) => write('warning', message, details),
  error: (message, details) => write('error', message, details),
};

/**
 * The caller's logger as everything here uses it: if it throws or rejects, its message is lost and nothing else. The first failure
 * is reported on stderr.
 */
export function safeLogger(logger: Logger): Logger {
  let isReported = false;
  const failed = (error: unknown) => {
    if (isReported) return;
    isReported = true;
    // The last resort: with stderr gone, too, there is no place left to report to.
    guarded(
      () => STDERR_LOGGER.error('the logger threw; its messages are lost', { error: describeThrown(error) }),
      () => undefined,
    );
  };
  const method = (level: keyof Logger) => (message: string, details?: Record<string, unknown>) => {
    guarded(() => logger[level](message, details), failed);
  };
  return { debug: method('debug'), info: method('info'), warn: method('warn'), error: method('error') };
}

export const SILENT_LOGGER: Logger = { debug() {}, info() {}, warn() {}, error() {} };
