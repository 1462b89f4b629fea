/**
 * The logger that a caller may bring: its shape, the order of its arguments, the ones that are used where none is brought, and what keeps
 * its failures away.
 *
 * Two orders are common: console and winston take (message, details), pino and bunyan (details, message); and each drops silently
 * what comes in the other order. So the order is never guessed from a call: pino's loggers are recognized by the symbol under which each
 * of them, children included, keeps its serializers; other loggers with its order say so themselves, through `objectFirstLogger`.
 */
import { describeThrown, guarded } from './callbacks.ts';
import { InvalidArgumentError } from './errors.ts';
import { readingArgument } from './option-checks.ts';

/**
 * Where messages go. `console` works and every object with these methods; a logger of pino is recognized, and gets (details, message) as it
 * expects. Others with that order: `objectFirstLogger`. The default writes warnings and errors to stderr.
 */
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

/** A logger whose methods take the details before the message, as those of pino and bunyan do. */
export interface ObjectFirstLogger {
  /** As `Logger.debug`, of the details before the message. */
  debug(details: Record<string, unknown>, message: string): void;
  /** As `Logger.info`, of the details before the message. */
  info(details: Record<string, unknown>, message: string): void;
  /** As `Logger.warn`, of the details before the message. */
  warn(details: Record<string, unknown>, message: string): void;
  /** As `Logger.error`, of the details before the message. */
  error(details: Record<string, unknown>, message: string): void;
}

/**
 * For the option `logger`: a logger that takes (details, message). Not needed for pino, and does no harm there. Details are `{}` where a
 * message has none. Throws `InvalidArgumentError` (`BAD_ARGUMENT`) if a method is missing.
 */
export function objectFirstLogger(logger: ObjectFirstLogger): Logger {
  const missing = LEVELS.filter((level) => readingArgument('logger', () => typeof logger?.[level]) !== 'function');
  if (missing.length > 0) {
    throw new InvalidArgumentError(
      'BAD_ARGUMENT',
      `objectFirstLogger needs a logger with the methods ${LEVELS.join(', ')}; it lacks ${missing.join(', ')}.`,
    );
  }
  const method = (level: keyof Logger) => (message: string, details?: Record<string, unknown>) =>
    logger[level](details ?? {}, message);
  return { debug: method('debug'), info: method('info'), warn: method('warn'), error: method('error') };
}

const LEVELS = ['debug', 'info', 'warn', 'error'] as const;
/** `pino.symbols.serializersSym`, which is registered: the same in every version and copy of pino. */
const PINO_MARK = Symbol.for('pino.serializers');

function inOwnOrder(logger: Logger): Logger {
  const isPino = guarded(
    () => PINO_MARK in logger,
    () => undefined,
  );
  return isPino === true ? objectFirstLogger(logger as Logger & ObjectFirstLogger) : logger;
}

/**
 * The caller's logger as everything here uses it: with the arguments in its order; if it throws or rejects, its message is lost and
 * nothing else. The first failure is reported on stderr.
 */
export function safeLogger(given: Logger): Logger {
  const logger = inOwnOrder(given);
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
