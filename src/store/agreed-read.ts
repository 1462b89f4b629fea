/**
 * What a place holds, where the caller knows what should be there. Other bytes than those wanted may have been damaged on the
 * way, and may by chance be what another writer wrote: only what two reads in a row agree on is accepted as stored. That nothing is
 * there is an answer.
 */
import { storeError } from './store-error.ts';

const MAX_READS_TO_AGREE = 6;

/** Reads until the wanted bytes come, or the same others twice; throws a malformed response if all reads differ. */
export async function agreedRead<T extends { bytes: Uint8Array }>(
  wanted: Uint8Array,
  where: { store: string; path: string },
  read: () => Promise<T | undefined>,
): Promise<T | undefined> {
  let previous: Uint8Array | undefined;
  for (let count = 1; count <= MAX_READS_TO_AGREE; count++) {
    const found = await read();
    if (found === undefined || Buffer.compare(found.bytes, wanted) === 0) return found;
    if (previous !== undefined && Buffer.compare(found.bytes, previous) === 0) return found;
    previous = found.bytes;
  }
  const message = `${MAX_READS_TO_AGREE} reads gave other bytes each time: they are damaged on the way`;
  throw storeError({ cls: 'malformed-response', message, ...where });
}
