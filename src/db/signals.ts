/** Opt-in shutdown: on SIGTERM or SIGINT the database is closed, then the signal takes its usual course. */
import type { Logger } from '../common/logger.ts';
import type { Db } from './db.ts';

const SIGNALS: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT'];

/** Returns a function that stops listening. A second signal while closing is left to the process. */
export function closeOnSignals(db: Db, logger: Logger): () => void {
  const stop = () => {
    for (const signal of SIGNALS) process.removeListener(signal, handler);
  };
  const handler = (signal: NodeJS.Signals) => {
    stop();
    db.close()
      .catch((error: unknown) => logger.error('the database could not be closed in time', { error: String(error) }))
      .finally(() => {
        // Other listeners decide themselves how the process ends.
        if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
      });
  };
  for (const signal of SIGNALS) process.on(signal, handler);
  return stop;
}
