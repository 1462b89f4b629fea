/** Bodies of S3 answers: never trusted to be as long as they claim, or to be the range that was asked for. */
import type { Readable } from 'node:stream';
import { EMPTY_BYTES } from '../common/bytes.ts';
import { rangeBounds } from './object-path.ts';
import type { ByteRange } from './object-store.ts';

/** The answer does not fit the request; says nothing about the object. */
export class MalformedAnswer extends Error {}

/** What is allocated on the word of a header alone; the rest when as many bytes have come. */
const TRUSTED_BYTES = 8 << 20;

/** Reads exactly `length` bytes; anything else is an error, at the latest one chunk behind the end. */
export function readBody(body: Readable, length: number, signal: AbortSignal | undefined): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const onAbort = () => body.destroy();
    signal?.addEventListener('abort', onAbort, { once: true });
    const fail = (message: string) => {
      body.destroy();
      reject(new MalformedAnswer(message));
    };
    let bytes = allocated(Math.min(length, TRUSTED_BYTES)) ?? EMPTY_BYTES;
    let at = 0;
    body.on('data', (chunk: Uint8Array) => {
      if (at + chunk.length > length) return fail(`the body is longer than the ${length} bytes announced`);
      if (at + chunk.length > bytes.length) {
        const larger = grown(bytes, at, Math.min(length, 2 * bytes.length + chunk.length));
        if (larger === undefined) return fail(`a body of ${length} bytes was announced, which no memory can hold`);
        bytes = larger;
      }
      bytes.set(chunk, at);
      at += chunk.length;
    });
    body.on('error', reject);
    body.on('end', () => (at === length ? resolve(bytes) : fail(`the body ended after ${at} of ${length} bytes`)));
    // Has no effect after one of the others.
    body.on('close', () => {
      signal?.removeEventListener('abort', onAbort);
      fail(`the connection closed after ${at} of ${length} bytes`);
    });
  });
}

/** undefined if there is no room. Node 20 has a fixed limit far below what a length can say; from 22 on the attempt decides. */
function allocated(length: number): Uint8Array | undefined {
  try {
    return new Uint8Array(Buffer.allocUnsafeSlow(length).buffer, 0, length);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function grown(bytes: Uint8Array, used: number, length: number): Uint8Array | undefined {
  const larger = allocated(length);
  larger?.set(bytes.subarray(0, used));
  return larger;
}

/**
 * The object's size, after checking that the answer holds exactly the range that was asked for.
 * `contentRange`: the header, such as `bytes 0-99/1234`; absent in an answer with the whole object.
 */
export function checkedSize(range: ByteRange | undefined, length: unknown, contentRange: string | undefined): number {
  if (typeof length !== 'number' || !Number.isSafeInteger(length) || length < 0) {
    throw new MalformedAnswer('the answer has no length');
  }
  if (contentRange === undefined) {
    const { start, end } = rangeBounds(range, length);
    if (start === 0 && end === length) return length;
    throw new MalformedAnswer(`the whole object of ${length} bytes came instead of a range`);
  }
  // So says MinIO for the last bytes of an empty object.
  if (contentRange === 'bytes 0--1/0' && length === 0 && range !== undefined) return 0;
  const parts = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(contentRange);
  if (parts === null) throw new MalformedAnswer(`the range is called ${JSON.stringify(contentRange)}`);
  const [first, last, size] = parts.slice(1).map(Number);
  const { start, end } = rangeBounds(range, size);
  if (first === start && last === end - 1 && length === end - start) return size;
  throw new MalformedAnswer(`the range ${contentRange} with ${length} bytes came instead of [${start}, ${end})`);
}
