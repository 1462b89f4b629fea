/**
 * Notices that an object was dropped that should have been closed first: when the garbage collector has taken it.
 *
 * 1. The function that is called then must not reach the object, not even through the scope in which it was made: else it is never called.
 *    So such functions are made where the object has no name.
 * 2. When it is called, and whether it is before the process ends, nobody can know: nothing may depend on it but a warning and the end of
 *    what the object held. Where time is not the system's there is no registry: the same seed, the same run.
 */
import { type Clock, SYSTEM_CLOCK } from './clock.ts';

/** The part of a `FinalizationRegistry` that is needed here. */
export interface DropRegistry {
  /** Calls `dropped` some time after `target` was dropped, unless it was unregistered before. */
  register(target: object, dropped: () => void, token: object): void;
  unregister(token: object): void;
}

/** One for the process: a registry that is dropped itself calls nothing any more. */
const SYSTEM_DROPS: DropRegistry = new FinalizationRegistry<() => void>((dropped) => dropped());
const NO_DROPS: DropRegistry = { register() {}, unregister() {} };

export function dropsOf(clock: Clock): DropRegistry {
  return clock === SYSTEM_CLOCK ? SYSTEM_DROPS : NO_DROPS;
}
