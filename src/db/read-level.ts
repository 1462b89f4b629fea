/** Reads of a part of a reader or a snapshot, or of all of it in its encodings. */

import { CodedReads } from './coded-reads.ts';
import type { EncodingOptions } from './encoding.ts';
import { levelCodec } from './level-codec.ts';
import type { RawReads } from './read-path.ts';
import type { Reads } from './reads.ts';
import type { RowCodec } from './row-codec.ts';

export class ReadLevel<K, V> extends CodedReads<K, V> implements Reads<K, V> {
  readonly sublevel: Reads<K, V>['sublevel'] = (name: string, options?: EncodingOptions) =>
    readLevel(this.raw, this.codec, name, options);
}

/** What a sublevel has is said by its options, which the types of the call follow. */
export function readLevel<K, V>(
  raw: RawReads,
  codec: RowCodec<K, V>,
  name: string,
  options: EncodingOptions | undefined,
): never {
  return new ReadLevel(raw, levelCodec(codec, name, options)) as never;
}
