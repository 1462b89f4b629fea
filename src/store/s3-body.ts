/** Bodies of S3 answers: never trusted to be as long as they claim, or to be the range that was asked for. */
import { constants as bufferLimits } from 'node:buffer';
import type { Readable } from 'node:stream';
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
    if (length > bufferLimits.MAX_LENGTH) return fail(`a body of ${length} bytes was announced`);
    let bytes = allocate(Math.min(length, TRUSTED_BYTES));
    let at = 0;
    body.on('data', (chunk: Uint8Array) => {
      if (at + chunk.length > length) return fail(`the body is longer than the ${length} bytes announced`);
      if (at + chunk.length > bytes.length) bytes = grown(bytes, at, Math.min(length, 2 * bytes.length + chunk.length));
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

function allocate(length: number): Uint8Array {
  return new Uint8Array(Buffer.allocUnsafeSlow(length).buffer, 0, length);
}

function grown(bytes: Uint8Array, used: number, length: number): Uint8Array {
  const larger = allocate(length);
  larger.set(bytes.subarray(0, used));
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
