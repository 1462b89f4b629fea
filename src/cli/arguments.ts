/**
 * Words of the command line to values, checked against what the command declares. Everything wrong is a `UsageError` that
 * names the word, what is allowed, and the nearest name that exists.
 */
import { parseArgs } from 'node:util';
import { editDistance } from '../common/edit-distance.ts';
import { isLikeLocation } from './place.ts';

/** The operand that says which database. */
export const LOCATION_NAME = 'LOCATION';

/** Exit code 2; the message is for the person at the keyboard. */
export class UsageError extends Error {}

interface OptionFacts {
  /** One line for help. */
  says: string;
  /** Whether the command cannot do without it. */
  required?: boolean;
}
export type OptionSpec = OptionFacts &
  (
    | { kind: 'flag' }
    | { kind: 'text'; value: string }
    /** A whole number from 0, as number. */
    | { kind: 'count'; value: string }
    /** A whole number from 0, as bigint. */
    | { kind: 'id'; value: string }
    | { kind: 'choice'; choices: readonly string[] }
    /** Words between commas. */
    | { kind: 'list'; value: string }
  );

export interface OperandSpec {
  name: string;
  says: string;
  optional?: boolean;
  /** A whole number from 0, as bigint; else text. */
  kind?: 'id';
  /** The words that it may be. */
  choices?: readonly string[];
}

/** A word that is no option, and which of the words it is; of the environment it is none. */
interface Operand {
  word: string;
  at: number | undefined;
}

type Value = string | number | bigint | string[] | true;

/** The values of one call, by the names of operands and options. */
export class Arguments {
  readonly #values: ReadonlyMap<string, Value>;
  /** Options by the members that they became. */
  readonly #options = new Map<string, string>();

  /** Operands by the word that they were given as. */
  readonly #places: ReadonlyMap<string, number>;

  constructor(values: ReadonlyMap<string, Value>, places: ReadonlyMap<string, number>) {
    this.#values = values;
    this.#places = places;
  }

  /** The same with another value of one name. */
  with(name: string, value: string): Arguments {
    return new Arguments(new Map([...this.#values, [name, value]]), this.#places);
  }
  /** Which of the words an operand was; undefined if none was. */
  operandAt(name: string): number | undefined {
    return this.#places.get(name);
  }
  has(name: string): boolean {
    return this.#values.has(name);
  }
  /** Of an operand that may not be absent, or of an option that was found by `has`. */
  text(name: string): string {
    return this.#values.get(name) as string;
  }
  id(name: string): bigint | undefined {
    return this.#values.get(name) as bigint | undefined;
  }
  /** The option that became this member of a function's options. */
  optionOf(member: string): string | undefined {
    return this.#options.get(member);
  }
  /** Members of a function's options from the options of the command line that were given: member -> option. */
  members<T extends object>(names: { readonly [K in keyof T]?: string }): Partial<T> {
    const given = Object.entries<string | undefined>(names).filter(
      ([, option]) => option !== undefined && this.#values.has(option),
    );
    for (const [member, option] of given) this.#options.set(member, String(option));
    return Object.fromEntries(
      given.map(([member, option]) => [member, this.#values.get(String(option))]),
    ) as Partial<T>;
  }
}

/** What a function refuses of its options, in the words of the command line; undefined where it says nothing of these. */
export function optionFaultsOf(args: Arguments, faults: readonly unknown[]): UsageError | undefined {
  const texts = faults.map((fault) => {
    const [member, rest] = /^(\w+) (.+)$/.exec(String(fault))?.slice(1) ?? [];
    const option = member === undefined ? undefined : args.optionOf(member);
    // In brackets is what only a caller of the function can do.
    return option === undefined ? undefined : `--${option} ${rest?.replace(/ \([^)]*\)/, '')}`;
  });
  if (texts.length === 0 || texts.includes(undefined)) return undefined;
  return new UsageError(`${texts.join('; ')}.`);
}

/** @param location stands for the operand LOCATION where that is left out */
export function parseArguments(
  words: readonly string[],
  operands: readonly OperandSpec[],
  options: Readonly<Record<string, OptionSpec>>,
  location?: string,
): Arguments {
  const values = new Map<string, Value>();
  const { tokens } = parseArgs({
    args: [...words],
    options: Object.fromEntries(
      Object.entries(options).map(([name, o]) => [name, { type: o.kind === 'flag' ? 'boolean' : 'string' } as const]),
    ),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const given: Operand[] = [];
  for (const token of tokens) {
    if (token.kind === 'positional') given.push({ word: token.value, at: token.index });
    if (token.kind !== 'option') continue;
    const spec = Object.hasOwn(options, token.name) ? options[token.name] : undefined;
    if (spec === undefined)
      throw unknownName(
        'option',
        token.rawName,
        Object.keys(options).map((n) => `--${n}`),
      );
    values.set(token.name, valueFor(token.rawName, spec, token.value));
  }
  const places = new Map<string, number>();
  const all = withLocation(given, operands, values.has('file') ? undefined : location);
  takeOperands(all, operands, values, places);
  const missing = Object.entries(options).find(([name, o]) => o.required === true && !values.has(name));
  if (missing !== undefined) throw new UsageError(`--${missing[0]} is missing: ${missing[1].says}`);
  return new Arguments(values, places);
}

/**
 * The operands with the location from the environment, where they do not name one: there are too few of them, or the first of those that
 * may be left out cannot be meant as one.
 */
function withLocation(
  given: readonly Operand[],
  operands: readonly OperandSpec[],
  location: string | undefined,
): readonly Operand[] {
  if (location === undefined || operands[0]?.name !== LOCATION_NAME || given.length >= operands.length) return given;
  const least = Math.max(1, operands.filter(({ optional }) => optional !== true).length);
  const isNamed = given.length >= least && isLikeLocation(given[0].word);
  return isNamed ? given : [{ word: location, at: undefined }, ...given];
}

function takeOperands(
  given: readonly Operand[],
  operands: readonly OperandSpec[],
  values: Map<string, Value>,
  places: Map<string, number>,
): void {
  operands.forEach((o, i) => {
    const { word, at } = given[i] ?? { word: '' };
    if (word !== '') {
      if (o.choices !== undefined) assertChoice(o.name, o.choices, word);
      values.set(o.name, o.kind === 'id' ? wholeNumber(o.name, word) : word);
      if (at !== undefined) places.set(o.name, at);
    } else if (o.optional !== true) throw new UsageError(`${o.name} is missing: ${o.says}`);
  });
  const surplus = given[operands.length];
  if (surplus !== undefined) throw new UsageError(`Unexpected argument ${JSON.stringify(surplus.word)}.`);
}

function valueFor(raw: string, spec: OptionSpec, value: string | undefined): Value {
  if (spec.kind === 'flag') {
    if (value !== undefined) throw new UsageError(`${raw} takes no value.`);
    return true;
  }
  if (value === undefined || value === '') throw new UsageError(`${raw} needs a value: ${spec.says}`);
  switch (spec.kind) {
    case 'text':
      return value;
    case 'list':
      return value.split(',').filter((w) => w !== '');
    case 'choice':
      assertChoice(raw, spec.choices, value);
      return value;
    case 'id':
      return wholeNumber(raw, value);
    case 'count': {
      const n = wholeNumber(raw, value);
      if (n > BigInt(Number.MAX_SAFE_INTEGER)) throw new UsageError(`${raw} is too large: ${value}.`);
      return Number(n);
    }
  }
}

function assertChoice(raw: string, choices: readonly string[], value: string): void {
  if (choices.includes(value)) return;
  const hint = hintOf(value, choices);
  throw new UsageError(`${raw} is one of ${choices.join(', ')}, not ${JSON.stringify(value)}${hint}`);
}

function wholeNumber(raw: string, value: string): bigint {
  if (!/^\d{1,20}$/.test(value)) throw new UsageError(`${raw} must be a whole number, not ${JSON.stringify(value)}.`);
  const n = BigInt(value);
  if (n >= 2n ** 64n) throw new UsageError(`${raw} is too large: ${value}.`);
  return n;
}

export function unknownName(what: string, name: string, known: readonly string[]): UsageError {
  return new UsageError(`Unknown ${what} ${JSON.stringify(name)}${hintOf(name, known)}`);
}

function hintOf(name: string, known: readonly string[]): string {
  const near = nearest(name, known);
  return near === undefined ? '.' : `; did you mean ${near}?`;
}

/** Letters in which a name may differ from a word of this length: in a short word two wrong letters make another word. */
function mostWrong(length: number): number {
  return length < 3 ? 0 : Math.ceil((length - 2) / 3);
}

/** The known name with the fewest changed letters, if it is not a different word altogether. The dashes of an option do not count. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = mostWrong(name.replace(/^-+/, '').length) + 1;
  for (const candidate of known) {
    const distance = candidate.startsWith(name) && name.length > 2 ? 1 : editDistance(name, candidate);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}
