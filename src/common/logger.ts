/** Where messages go. Any object with these methods works (pino, console); the default says warnings and errors on stderr. */
export interface Logger {
  debug(message: string, details?: Record<string, unknown>): void;
  info(message: string, details?: Record<string, unknown>): void;
  warn(message: string, details?: Record<string, unknown>): void;
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

export const SILENT_LOGGER: Logger = { debug() {}, info() {}, warn() {}, error() {} };
