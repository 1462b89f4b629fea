/**
 * The codec of a sublevel, from its name and options.
 *
 * 1. Keys of a sublevel are those of the level above, FF, the name in UTF-8, 00, then its own key. No name has a 00, so the bytes of one are
 *    never the beginning of those of another.
 */
import { concatBytes, encodeUtf8 } from '../common/bytes.ts';
import { InvalidArgumentError } from '../common/errors.ts';
import { type ChecksOf, checkedOptions, describeValue } from '../common/option-checks.ts';
import { ENCODING_CHECK, type EncodingOptions, usedEncoding } from './encoding.ts';
import { type CodecParts, RowCodec, SUBLEVEL_MARK } from './row-codec.ts';

const MAX_NAME = 200;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they separate names in stored keys, a slash in messages
const SEPARATOR = /[\u0000-\u001f\u007f/]/;

const CHECKS: ChecksOf<Omit<EncodingOptions, 'encodingCheck'>> = {
  keyEncoding: ENCODING_CHECK,
  valueEncoding: ENCODING_CHECK,
};

export function levelCodec(
  { parts }: { readonly parts: CodecParts },
  name: unknown,
  options: EncodingOptions | undefined,
): RowCodec<unknown, unknown> {
  const { keyEncoding, valueEncoding } = checkedOptions<Omit<EncodingOptions, 'encodingCheck'>>(
    'sublevel',
    options,
    CHECKS,
  );
  return new RowCodec({
    keys: keyEncoding === undefined ? parts.keys : usedEncoding(keyEncoding),
    values: valueEncoding === undefined ? parts.values : usedEncoding(valueEncoding),
    prefix: concatBytes(parts.prefix, nameBytes(name)),
  });
}

function nameBytes(name: unknown): Uint8Array {
  const bytes = typeof name === 'string' && name.length > 0 && name.length <= MAX_NAME ? encodeUtf8(name) : undefined;
  if (bytes === undefined) {
    throw badName(`must be a well-formed string of 1 to ${MAX_NAME} characters, not ${describeValue(name)}`);
  }
  if (SEPARATOR.test(name as string)) {
    throw badName(
      `${describeValue(name)} has a slash or a control character, which separate names; for a sublevel within another one call sublevel on that`,
    );
  }
  return concatBytes(new Uint8Array([SUBLEVEL_MARK]), bytes, new Uint8Array(1));
}

function badName(why: string): InvalidArgumentError {
  return new InvalidArgumentError('BAD_ARGUMENT', `sublevel: the name ${why}.`);
}
