/**
 * Is it the store that answered, or a proxy on the way with a page of its own?
 *
 * A captive portal or a gateway that asks for a sign-in says 200 with HTML, to every request: a put would count as applied, a head
 * would find whatever was asked for, and a page would be read as a damaged object. Stores label HTML only what was uploaded as such,
 * and then their answers carry headers of the protocol, which a portal has no reason to send.
 *
 * Proxies that compress what passes give other bytes than the store holds. For an object nothing here undoes that: lengths and
 * ranges no longer mean anything. A list is XML of the server's own, so it is decompressed, within MAX_LIST_BYTES.
 */
import { Readable } from 'node:stream';
import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib';
import { MalformedAnswer, readUnannounced } from './s3-body.ts';

interface Answer {
  statusCode?: number;
  headers?: Record<string, string>;
  body?: Readable;
}

interface Request {
  query?: Record<string, unknown>;
}

const HTML = /^\s*(text\/html|application\/xhtml)/i;
const OF_STORES = /^(x-amz-|x-goog-|x-minio-|x-oss-|x-obs-|x-cos-|x-rgw-)/i;

const AS_STORED = /^\s*(identity|aws-chunked)?\s*$/i;

/** A page has 1,000 keys of at most 1,024 bytes, each byte of which XML may spell in six. */
const MAX_LIST_BYTES = 16 << 20;

type Decompress = (bytes: Uint8Array, limit: { maxOutputLength: number }) => Uint8Array;

const DECOMPRESS: Readonly<Record<string, Decompress>> = {
  gzip: gunzipSync,
  'x-gzip': gunzipSync,
  deflate: inflateSync,
  br: brotliDecompressSync,
};

/**
 * Leaves in the answer to a list what the store said.
 * @throws MalformedAnswer for a success that is a page of another server, or whose bytes were changed on the way
 */
export async function assertOfStore(request: unknown, response: unknown): Promise<void> {
  const answer = (response ?? {}) as Answer;
  const { statusCode = 0, headers = {}, body } = answer;
  if (statusCode < 200 || statusCode > 299) return;
  const encoding = headers['content-encoding'] ?? '';
  if (!AS_STORED.test(encoding)) {
    const decompress = isList(request) ? DECOMPRESS[encoding.trim().toLowerCase()] : undefined;
    if (decompress === undefined || body === undefined) {
      body?.destroy();
      throw new MalformedAnswer(
        `the answer came encoded as ${encoding}: a proxy on the way compresses; switch that off there`,
      );
    }
    answer.body = await decompressed(body, decompress, encoding);
    delete headers['content-encoding'];
    delete headers['content-length'];
  }
  if (!HTML.test(headers['content-type'] ?? '')) return;
  if (Object.keys(headers).some((name) => OF_STORES.test(name))) return;
  answer.body?.destroy();
  throw new MalformedAnswer(
    `HTML came with status ${statusCode} instead of an answer of the store: a proxy or a sign-in page is on the way; check endpoint and network`,
  );
}

function isList(request: unknown): boolean {
  return (request as Request | undefined)?.query?.['list-type'] === '2';
}

async function decompressed(body: Readable, decompress: Decompress, encoding: string): Promise<Readable> {
  const bytes = await readUnannounced(body, { offset: 0, length: MAX_LIST_BYTES }, undefined);
  try {
    return Readable.from([decompress(bytes, { maxOutputLength: MAX_LIST_BYTES })]);
  } catch (cause) {
    throw new MalformedAnswer(`a list came encoded as ${encoding} and cannot be decoded: ${String(cause)}`);
  }
}
