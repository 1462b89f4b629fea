/** Bodies of S3 answers: never trusted to be as long as they claim, or to be the range that was asked for. */
import type { Readable } from 'node:stream';
import { onAbort } from '../common/abort.ts';
import { EMPTY_BYTES } from '../common/bytes.ts';
import { rangeBounds } from './object-path.ts';
import type { ByteRange } from './object-store.ts';

/** The answer does not fit the request; says nothing about the object. */
export class MalformedAnswer extends Error {}

/** What is allocated because of a header alone; the rest when as many bytes have come. */
const TRUSTED_BYTES = 8 << 20;

/** Longest body that is read to its end on no word at all: memory is taken only as bytes come. */
const MAX_UNANNOUNCED_BYTES = 1 << 30;

/** Reads exactly `length` bytes; anything else is an error, at the latest one chunk after the end. */
export function readBody(body: Readable, length: number, signal: AbortSignal | undefined): Promise<Uint8Array> {
  return readUpTo(body, length, length, signal);
}

/**
 * Reads a body whose length is not announced, as proxies pass them on in chunks: to its end, but never more than was asked for. That
 * nothing is missing follows from the transfer, whose last chunk is marked.
 */
export function readUnannounced(
  body: Readable,
  range: ByteRange | undefined,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const asked = range === undefined ? MAX_UNANNOUNCED_BYTES : 'suffix' in range ? range.suffix : range.length;
  return readUpTo(body, 0, Math.min(asked, MAX_UNANNOUNCED_BYTES), signal);
}

/** Reads from `least` to `most` bytes. */
function readUpTo(body: Readable, least: number, most: number, signal: AbortSignal | undefined): Promise<Uint8Array> {
  const isAnnounced = least === most;
  return new Promise((resolve, reject) => {
    const leave = signal && onAbort(signal, () => body.destroy());
    const fail = (message: string) => {
      body.destroy();
      reject(new MalformedAnswer(message));
    };
    let bytes = allocated(Math.min(least, TRUSTED_BYTES)) ?? EMPTY_BYTES;
    let at = 0;
    body.on('data', (chunk: Uint8Array) => {
      if (at + chunk.length > most) {
        return fail(`the body is longer than the ${most} bytes ${isAnnounced ? 'announced' : 'that it may have'}`);
      }
      if (at + chunk.length > bytes.length) {
        const larger = grown(bytes, at, Math.min(most, 2 * bytes.length + chunk.length));
        if (larger === undefined) return fail(`a body of ${most} bytes was announced, which no memory can hold`);
        bytes = larger;
      }
      bytes.set(chunk, at);
      at += chunk.length;
    });
    body.on('error', reject);
    body.on('end', () => {
      if (at < least) return fail(`the body ended after ${at} of ${least} bytes`);
      resolve(at === bytes.length ? bytes : bytes.slice(0, at));
    });
    // Has no effect after one of the others.
    body.on('close', () => {
      leave?.();
      fail(`the connection closed after ${at} ${isAnnounced ? `of ${least} ` : ''}bytes`);
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

export interface AnnouncedBody {
  /** Bytes of the body; absent: to its end, which is then the end of the whole object. */
  length?: number;
  /** Bytes of the whole object; absent if only the body can say it. */
  size?: number;
}

/**
 * What an answer says about its body, after checking that this is exactly the range that was asked for.
 * `length`: the header Content-Length; absent where a proxy passes the body on in chunks. `contentRange`: the header, such as
 * `bytes 0-99/1234`; absent in an answer with the whole object.
 */
export function announcedBody(
  range: ByteRange | undefined,
  length: unknown,
  contentRange: string | undefined,
): AnnouncedBody {
  if (length !== undefined && !(Number.isSafeInteger(length) && (length as number) >= 0)) {
    throw new MalformedAnswer(`the length of the answer is called ${String(length)}`);
  }
  const announced = length as number | undefined;
  if (contentRange === undefined) {
    if (announced === undefined) {
      // The whole object is right only if it begins where the range does and is not longer: its end shows that.
      if (range === undefined || 'suffix' in range || range.offset === 0) return {};
      throw new MalformedAnswer('the whole object came instead of a range');
    }
    const { start, end } = rangeBounds(range, announced);
    if (start === 0 && end === announced) return { length: announced, size: announced };
    throw new MalformedAnswer(`the whole object of ${announced} bytes came instead of a range`);
  }
  // So says MinIO for the last bytes of an empty object.
  if (contentRange === 'bytes 0--1/0' && (announced ?? 0) === 0 && range !== undefined) return { length: 0, size: 0 };
  const parts = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(contentRange);
  if (parts === null) throw new MalformedAnswer(`the range is called ${JSON.stringify(contentRange)}`);
  const [first, last, size] = parts.slice(1).map(Number);
  const { start, end } = rangeBounds(range, size);
  if (first === start && last === end - 1 && (announced ?? end - start) === end - start) {
    return { length: end - start, size };
  }
  const bytes = announced === undefined ? '' : ` with ${announced} bytes`;
  throw new MalformedAnswer(`the range ${contentRange}${bytes} came instead of [${start}, ${end})`);
}
