/**
 * Channels of `node:diagnostics_channel` on which this package says what it does, without an option:
 *
 *     import { subscribe } from 'node:diagnostics_channel';
 *     subscribe('shaledb:request', (message) => console.log(message));
 *
 * 1. Without subscribers nothing is made: a message is built after `hasSubscribers` was asked.
 * 2. Messages are plain data that nothing here keeps. What a subscriber throws Node reports as an uncaught exception; nothing here fails.
 */
import { channel } from 'node:diagnostics_channel';
import type { DbEvent } from './events.ts';

/** Which database a message is about. */
export interface ChannelPlace {
  /** Name of the store with the path of the database, as in errors. */
  store: string;
}

/** On `shaledb:request`: an attempt of a call of a store has ended. */
export interface RequestMessage extends ChannelPlace {
  /** `get`, `head`, `put`, `list`, `delete`; of an upload in parts its completion. */
  op: string;
  /** Of the object, the first of several, or the prefix. */
  path: string;
  /** Role of the object, as in `requestCounts`. */
  role: string;
  /** Which role of upkeep has asked, `collector` or `compactor`; undefined: the database itself. */
  by: string | undefined;
  /** As the label of `shaledb_object_store_request_duration_seconds`. */
  outcome: string;
  /** How long it took. */
  durationMs: number;
}

/** On `shaledb:flush`: rows have become durable in the log, or are in a table that a manifest names. */
export interface FlushMessage extends ChannelPlace {
  /** `log`: an object of the log; `table`: a table of level 0, or none if no row had to be kept. */
  to: 'log' | 'table';
  /** Its number in the log; its ULID; undefined: no table was needed. */
  id: number | string | undefined;
  /** From the beginning, the encoding included. */
  durationMs: number;
}

/** On `shaledb:event`: what the option `onEvent` gets, of every database of the process. */
export interface EventMessage extends ChannelPlace {
  /** What has happened. */
  event: DbEvent;
}

/** On `shaledb:warning`: what was logged as a warning of docs/metrics.md. */
export interface WarningMessage extends ChannelPlace {
  /** What it is about. */
  code: string;
  /** As in the log. */
  message: string;
  /** As in the log. */
  details: Record<string, unknown>;
}

/** A channel whose messages have one form. */
export interface TypedChannel<Message> {
  readonly hasSubscribers: boolean;
  publish(message: Message): void;
}

export const REQUEST_CHANNEL: TypedChannel<RequestMessage> = channel('shaledb:request');
export const FLUSH_CHANNEL: TypedChannel<FlushMessage> = channel('shaledb:flush');
export const EVENT_CHANNEL: TypedChannel<EventMessage> = channel('shaledb:event');
export const WARNING_CHANNEL: TypedChannel<WarningMessage> = channel('shaledb:warning');
