/**
 * What a caller can follow beside the answers it gets: option `onEvent` of `open` and `openReader`. Each event is also a line in
 * the log; none needs an answer, and none stands for an error, which is always thrown.
 */
import { describeThrown, guarded } from './callbacks.ts';
import type { Finding } from './errors.ts';
import type { Logger } from './logger.ts';

export type DbEvent =
  /** A replay that takes long, about once a second: first all WAL objects are read and verified, then their rows are applied. */
  | { type: 'replay'; phase: 'read' | 'apply'; objects: number; of: number }
  /** `walAutoRecovery` had to repair the log; `db.ready()` has the report. */
  | { type: 'recovery'; repairId: string; recoveredRows: number; lostRows: number; lostExact: boolean }
  /** Damage, or a sign of it, that takes away no row that was asked for; with `allowPrefix` also that of the log. */
  | { type: 'finding'; finding: Finding };

export type EventListener = (event: DbEvent) => void;

/** A listener whose exceptions and rejections go into the log: they must not end what it is told about. */
export function safeListener(listener: EventListener | undefined, logger: Logger): EventListener {
  if (listener === undefined) return () => undefined;
  return (event) => {
    guarded(
      () => listener(event),
      (error) => logger.error('the onEvent function threw', { event: event.type, error: describeThrown(error) }),
    );
  };
}
