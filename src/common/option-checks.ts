/**
 * The one check of options: every call with an options object reads it here, once, before it does anything else.
 *
 * Why in one place: an option that is misspelt or impossible and then passed over decides about rows (a repair without the
 * limit that its caller meant). So all calls refuse by the same rule and in the same words.
 *
 * Invariants:
 * 1. An unknown name is a fault, with the known name that it resembles; all faults of a call are reported at once.
 * 2. Each option is read once, and the call works on the copy: what a getter does later changes nothing.
 * 3. Only plain objects are options: a `Map`, a promise or a signal in their place would be passed over in silence.
 * 4. What the caller's members throw while they are read is reported as `BAD_OPTION`, with the exception as its cause.
 * 5. Enumerable members of `Object.prototype`, of whatever realm, are not options.
 */
import { types } from 'node:util';
import { copyBytes, isBytes, trueBytes } from './bytes.ts';
import { CheckedClock, type Clock } from './clock.ts';
import { editDistance } from './edit-distance.ts';
import { InvalidArgumentError, isDbError } from './errors.ts';

/**
 * Reads one value, adds what is wrong with it to `faults` (a sentence that begins with `name`), and returns the value to use:
 * an own copy of what the caller could change.
 */
export type Check = (value: unknown, name: string, faults: string[]) => unknown;

/** One check for each option that there is. */
export type ChecksOf<T> = Readonly<{ [K in keyof Required<T>]: Check }>;

type Checks = Readonly<Record<string, Check>>;

export interface GivenOptions {
  /** The options without fault. */
  given: Record<string, unknown>;
  faults: string[];
}

/** The options of `call`, each checked; throws `BAD_OPTION` with all faults. */
export function checkedOptions<T extends object>(
  call: string,
  options: T | undefined,
  checks: ChecksOf<NoInfer<T>>,
  required: readonly (keyof NoInfer<T> & string)[] = [],
): T {
  const { given, faults } = readOptions(call, options, checks as Checks);
  addMissing(given, required, '', faults);
  if (faults.length > 0) throw optionFaults(call, faults, checks as Checks);
  return given as T;
}

/** `checkedOptions` for calls that look for further faults in how the options fit each other. */
export function readOptions(call: string, options: unknown, checks: Checks): GivenOptions {
  if (options === undefined) return { given: {}, faults: [] };
  if (!isPlainObject(options)) {
    throw new InvalidArgumentError(
      'BAD_OPTION',
      `${call}: the options must be a plain object, not ${describeValue(options)}.`,
    );
  }
  const faults: string[] = [];
  try {
    return { given: readMembers(options, checks, '', faults), faults };
  } catch (cause) {
    if (isDbError(cause)) throw cause;
    const message = `${call}: the options threw an exception while they were read; see the cause.`;
    throw new InvalidArgumentError('BAD_OPTION', message, { cause });
  }
}

/** More faults than these are only counted. */
const MAX_FAULTS = 50;
/** Known names are listed where they are not more than these. */
const MAX_KNOWN_NAMES = 16;

export function optionFaults(call: string, faults: readonly string[], checks: Checks = {}): InvalidArgumentError {
  const shown = faults.slice(0, MAX_FAULTS);
  const more = faults.length > shown.length ? `; and ${faults.length - shown.length} more` : '';
  const names = Object.keys(checks);
  const isHelpful = names.length > 0 && names.length <= MAX_KNOWN_NAMES && faults.some((f) => f.endsWith(UNKNOWN));
  const known = isHelpful ? ` Known are ${names.join(', ')}.` : '';
  const message = `${call}: ${shown.join('; ')}${more}.${known}`;
  return new InvalidArgumentError('BAD_OPTION', message, { details: { faults: shown } });
}

/** Runs code of the caller, such as the getters of an argument: what it throws is a fault of the call. */
export function readingArgument<T>(call: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (isDbError(cause)) throw cause;
    const message = `${call}: an argument threw an exception while it was read; see the cause.`;
    throw new InvalidArgumentError('BAD_ARGUMENT', message, { cause });
  }
}

const UNKNOWN = ' is unknown';

/** `within`: what stands before the names in faults, '' for the options themselves: those that are known there end the message. */
function readMembers(options: object, checks: Checks, within: string, faults: string[]): Record<string, unknown> {
  const given: Record<string, unknown> = {};
  for (const name of memberNames(options, checks)) {
    const value = (options as Record<string, unknown>)[name];
    if (value === undefined) continue;
    if (!Object.hasOwn(checks, name)) {
      faults.push(`${within}${shortened(name)}${UNKNOWN}${suggestion(name, checks) || knownWithin(within, checks)}`);
      continue;
    }
    const before = faults.length;
    const own = checks[name](value, within + name, faults);
    if (faults.length === before) given[name] = own;
  }
  return given;
}

/** The names that an object inside of options takes; they are few. */
function knownWithin(within: string, checks: Checks): string {
  return within === '' ? '' : ` (known are ${Object.keys(checks).join(', ')})`;
}

/** Longer chains of prototypes are not followed: a proxy can make one without end. */
const MAX_PROTOTYPES = 16;

/**
 * Enumerable members, own and inherited, and those of a known name that are not enumerable (accessors of a class): a limit must not
 * be passed over because of the form in which it is given. Not those of the prototype of all objects.
 */
function memberNames(options: object, checks: Checks): string[] {
  const isKnown = (name: string) => Object.hasOwn(checks, name);
  const names: string[] = [];
  let holder: object | null = options;
  for (let depth = 0; holder !== null && depth < MAX_PROTOTYPES; depth++) {
    const next = Object.getPrototypeOf(holder) as object | null;
    if (next === null && depth > 0) break;
    names.push(...Object.keys(holder), ...Object.getOwnPropertyNames(holder).filter(isKnown));
    holder = next;
  }
  return [...new Set(names)];
}

/** False for arrays, functions, maps, dates, promises, signals and the like: in the place of options each is a mistake. */
export function isPlainObject(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  try {
    const prototype = Object.getPrototypeOf(value) as object | null;
    if (prototype === Object.prototype || prototype === null) return true;
    return Object.prototype.toString.call(value) === '[object Object]';
  } catch {
    // A proxy that was revoked, or whose traps throw: it cannot be read.
    return false;
  }
}

// ---- checks

/** What a value must be. */
export function that(what: string, holds: (value: unknown) => boolean): Check {
  return (value, name, faults) => {
    if (!holds(value)) faults.push(`${name} must be ${what}, not ${describeValue(value)}`);
    return value;
  };
}

export const bool = that('true or false', (v) => typeof v === 'boolean');

export const callable = that('a function', (v) => typeof v === 'function');

export const filledText = that('a string that is not empty', (v) => typeof v === 'string' && v.length > 0);

export function whole(min: number, max: number): Check {
  const what = `a whole number from ${min} to ${max}`;
  return that(what, (v) => typeof v === 'number' && Number.isInteger(v) && v >= min && v <= max);
}

/** Any number of this range, both ends included. */
export function between(min: number, max: number): Check {
  return that(`a number from ${min} to ${max}`, (v) => typeof v === 'number' && v >= min && v <= max);
}

/** A writer epoch that another one can follow. */
export const writerEpoch: Check = (value, name, faults) => {
  const epoch = typeof value === 'bigint' && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
  return whole(1, Number.MAX_SAFE_INTEGER - 1)(epoch, name, faults);
};

/** Most of what a timer takes. */
export const MAX_MS = 0x7fffffff;

/** Ids and sequence numbers. */
export const wholeBigint = that('a bigint of at least 0n', (v) => typeof v === 'bigint' && v >= 0n);

export function oneOf(values: readonly string[]): Check {
  return that(`one of ${values.join(', ')}`, (v) => typeof v === 'string' && values.includes(v));
}

/** An object with these functions. It is used as it is. */
export function methods(...names: string[]): Check {
  const listed = (all: readonly string[]) => all.map((n) => `${n}()`).join(', ');
  return (value, name, faults) => {
    const isObject = typeof value === 'object' && value !== null;
    const missing = names.filter((n) => !isObject || typeof (value as Record<string, unknown>)[n] !== 'function');
    if (missing.length === 0) return value;
    const fault = isObject ? `it has no ${listed(missing)}` : `not ${describeValue(value)}`;
    faults.push(`${name} must be an object with ${listed(names)}${isObject ? '; ' : ', '}${fault}`);
    return value;
  };
}

/** By its members, not by its class: signals of other realms and of polyfills are as good. */
export const abortSignal = that('an AbortSignal', isSignal);

export function isSignal(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const s = value as Partial<AbortSignal>;
  return (
    typeof s.aborted === 'boolean' &&
    typeof s.addEventListener === 'function' &&
    typeof s.removeEventListener === 'function'
  );
}

export const LOGGER_CHECK = methods('debug', 'info', 'warn', 'error');

const CLOCK_METHODS = methods('nowMs', 'monotonicMs', 'setTimer', 'yieldToLoop');
/** The only way for a clock of the caller's: no code after it meets a time that is no whole number. */
export const CLOCK_CHECK: Check = (value, name, faults) => {
  const before = faults.length;
  CLOCK_METHODS(value, name, faults);
  return faults.length === before ? new CheckedClock(value as Clock) : value;
};
export const RANDOM_CHECK = methods('nextUint32', 'fill');

/** Bytes, which are copied. */
export const bytes: Check = (value, name, faults) => {
  const own = isBytes(value) ? trueBytes(value) : undefined;
  if (own !== undefined) return copyBytes(own);
  const what = isBytes(value) ? 'one whose memory is gone (it was transferred or resized)' : describeValue(value);
  faults.push(`${name} must be a Uint8Array, not ${what}`);
  return value;
};

/** Accepts any value: other code checks it. */
export const anything: Check = (value) => value;

const MAX_LIST = 1_000_000;

/** An array of at most a million such values; sparse ones can be longer than memory. */
export function list(what: string, item: Check): Check {
  return (value, name, faults) => {
    if (!Array.isArray(value) || value.length > MAX_LIST) {
      faults.push(`${name} must be an array of ${what}, not ${describeValue(value)}`);
      return value;
    }
    return Array.from(value, (v: unknown, i) => item(v, `${name}[${i}]`, faults));
  };
}

function addMissing(given: object, required: readonly string[], within: string, faults: string[]): void {
  for (const r of required) {
    const isFaulty = faults.some((f) => f.startsWith(`${within}${r} `));
    if (!Object.hasOwn(given, r) && !isFaulty) faults.push(`${within}${r} is missing`);
  }
}

/** An object with these members and no others. */
export function members(checks: Checks, required: readonly string[] = []): Check {
  return (value, name, faults) => {
    if (!isPlainObject(value)) {
      faults.push(
        `${name} must be a plain object with ${Object.keys(checks).join(' or ')}, not ${describeValue(value)}`,
      );
      return value;
    }
    const given = readMembers(value, checks, `${name}.`, faults);
    addMissing(given, required, `${name}.`, faults);
    return given;
  };
}

/** `false`, or an object with these members and no others. */
export function offOr(checks: Checks): Check {
  const object = members(checks);
  return (value, name, faults) => {
    if (value === false) return false;
    if (isPlainObject(value)) return object(value, name, faults);
    const names = Object.keys(checks).join(', ');
    faults.push(`${name} must be false or a plain object with any of ${names}, not ${describeValue(value)}`);
    return value;
  };
}

// ---- texts

/** A value in a message: short, and without calling anything of it. */
export function describeValue(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(shortened(value));
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value === 'bigint') return value > -MAX_SHOWN && value < MAX_SHOWN ? `${value}n` : 'a long bigint';
  if (value === null || value === undefined) return String(value);
  if (isArray(value)) return 'an array';
  return typeof value === 'object' ? kindOf(value) : `a ${typeof value}`;
}

/** Decided by the engine, not by the value; the names that `types` has for them. */
const KINDS: readonly (readonly [(value: unknown) => boolean, string])[] = [
  [types.isMap, 'a Map'],
  [types.isSet, 'a Set'],
  [types.isWeakMap, 'a WeakMap'],
  [types.isWeakSet, 'a WeakSet'],
  [types.isDate, 'a Date'],
  [types.isPromise, 'a Promise'],
  [types.isRegExp, 'a RegExp'],
  [types.isNativeError, 'an Error'],
  [types.isAnyArrayBuffer, 'an ArrayBuffer'],
  [types.isBoxedPrimitive, 'a boxed primitive'],
];

/** A proxy is not asked anything: its traps are the caller's code. */
function kindOf(value: object): string {
  if (types.isProxy(value)) return 'a proxy';
  const kind = KINDS.find(([is]) => is(value));
  if (kind !== undefined) return kind[1];
  const name = className(value);
  return name === undefined || name === 'Object' ? 'an object' : `an instance of ${name}`;
}

/** The name of the class in the nearest prototype that has one; accessors and proxies are passed over, as they are code. */
function className(value: object): string | undefined {
  const prototype = Object.getPrototypeOf(value) as object | null;
  if (prototype === null || types.isProxy(prototype)) return undefined;
  const made: unknown = Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value;
  if (typeof made !== 'function' || types.isProxy(made)) return undefined;
  const name: unknown = Object.getOwnPropertyDescriptor(made, 'name')?.value;
  return typeof name === 'string' && /^[\w$]{1,60}$/.test(name) ? name : undefined;
}

const MAX_SHOWN = 2n ** 64n;
const MAX_TEXT = 60;

/** `Array.isArray` throws for a proxy that was revoked. */
function isArray(value: unknown): boolean {
  try {
    return Array.isArray(value);
  } catch {
    return false;
  }
}

function shortened(name: string): string {
  return name.length > MAX_TEXT ? `${name.slice(0, MAX_TEXT)}...` : name;
}

/** The known name that an unknown one most resembles. */
function suggestion(name: string, checks: Checks): string {
  const wanted = name.slice(0, MAX_TEXT).toLowerCase().replaceAll('_', '').replaceAll('-', '');
  if (wanted === '') return '';
  const names = Object.keys(checks);
  const close =
    names.find((k) => k.toLowerCase() === wanted) ??
    names.find((k) => k.toLowerCase().startsWith(wanted) || (k.length > 2 && wanted.startsWith(k.toLowerCase()))) ??
    names.find((k) => editDistance(k.toLowerCase(), wanted) <= Math.min(2, k.length - 1));
  return close === undefined ? '' : ` (did you mean ${close}?)`;
}
