/**
 * The filter block around the Bloom filter: legacy (the filter alone) or composite (a list of named filters).
 *
 * ```
 * legacy      u16 BE probes | bits                                                          bloom.ts
 * composite   u16 BE number of filters, then for each
 *             u16 BE name length | name, UTF-8 | u64 BE data length | data                  SlateDB 0.13 and later
 * names       _bf                        over whole keys: the only one that is evaluated here; its data is the legacy form
 *             _bf:p=<extractor>          over keys and their prefixes; _bf:p=<extractor>:wh=0 over prefixes only
 * ```
 *
 * ```example slatedb-0.17.0/tiny db/compacted/01M7YM7C66Y3QX79BMTWD73ZD1.sst 94
 * 00 01                       filters=1
 * 00 03 5f 62 66              name="_bf"
 * 00 00 00 00 00 00 00 06     data_len=6
 * 00 06                       probes=6
 * 95 7d 30 18                 bits=957d3018
 * ```
 *
 * Which form a block has is a field of the table's info, and that field can be wrong: a composite block that is read as a legacy
 * one answers "absent" for keys that are there, and manifests that SlateDB 0.12.1 rewrote call composite filters legacy. Hence:
 * 1. a payload that parses completely as composite is composite, whatever the mark says (a legacy filter passes for one by chance
 *    only if its bits spell a whole list; it is then not used);
 * 2. what cannot be evaluated is not used: a filter may cost a read, never hide a row.
 */
import { type BloomFilter, decodeBloom } from './bloom.ts';
import type { FilterForm } from './table-info.ts';

export type { BloomFilter } from './bloom.ts';

/** The built-in policy over whole keys; names with suffixes belong to filters over key prefixes. */
const BLOOM_NAME = '_bf';

const FILTER_HEADER_BYTES = 2;
const NAME_LENGTH_BYTES = 2;
const DATA_LENGTH_BYTES = 8;

/** The filter over whole keys, or undefined if there is none that can be used: then every key may be there. */
export function decodeFilter(payload: Uint8Array, form: FilterForm): BloomFilter | undefined {
  const data = findBloomData(payload);
  if (data === NOT_COMPOSITE) return form === 'legacy' ? decodeBloom(payload) : undefined;
  return data === undefined ? undefined : decodeBloom(data);
}

/** The filter block's payload around a Bloom filter's. */
export function encodeFilter(form: FilterForm, bloom: Uint8Array): Uint8Array {
  if (form === 'legacy') return bloom;
  const prefixBytes = FILTER_HEADER_BYTES + NAME_LENGTH_BYTES + BLOOM_NAME.length + DATA_LENGTH_BYTES;
  const payload = new Uint8Array(prefixBytes + bloom.length);
  const view = new DataView(payload.buffer);
  view.setUint16(0, 1);
  view.setUint16(FILTER_HEADER_BYTES, BLOOM_NAME.length);
  for (let i = 0; i < BLOOM_NAME.length; i++) {
    payload[FILTER_HEADER_BYTES + NAME_LENGTH_BYTES + i] = BLOOM_NAME.charCodeAt(i);
  }
  view.setUint32(prefixBytes - 4, bloom.length);
  payload.set(bloom, prefixBytes);
  return payload;
}

/** Differs from "composite, without a filter that can be evaluated": then the payload must not be tried as a legacy one. */
const NOT_COMPOSITE = Symbol('not composite');

/** The data of the filter over whole keys, if the payload is a complete list of named filters. */
function findBloomData(payload: Uint8Array): Uint8Array | undefined | typeof NOT_COMPOSITE {
  const end = payload.length;
  if (end < FILTER_HEADER_BYTES) return NOT_COMPOSITE;
  const view = new DataView(payload.buffer, payload.byteOffset, end);
  const count = view.getUint16(0);
  let found: Uint8Array | undefined;
  let at = FILTER_HEADER_BYTES;
  for (let i = 0; i < count; i++) {
    if (at + NAME_LENGTH_BYTES > end) return NOT_COMPOSITE;
    const nameStart = at + NAME_LENGTH_BYTES;
    const nameEnd = nameStart + view.getUint16(at);
    if (nameEnd + DATA_LENGTH_BYTES > end) return NOT_COMPOSITE;
    const dataStart = nameEnd + DATA_LENGTH_BYTES;
    const dataBytes = view.getUint32(nameEnd) * 2 ** 32 + view.getUint32(nameEnd + 4);
    if (dataBytes > end - dataStart) return NOT_COMPOSITE;
    at = dataStart + dataBytes;
    if (found === undefined && isBloomName(payload, nameStart, nameEnd)) found = payload.subarray(dataStart, at);
  }
  return at === end ? found : NOT_COMPOSITE;
}

function isBloomName(payload: Uint8Array, start: number, end: number): boolean {
  if (end - start !== BLOOM_NAME.length) return false;
  for (let i = 0; i < BLOOM_NAME.length; i++) if (payload[start + i] !== BLOOM_NAME.charCodeAt(i)) return false;
  return true;
}
