/**
 * Is it the store that answered, or a proxy on the way with a page of its own?
 *
 * A captive portal or a gateway that asks for a sign-in says 200 with HTML, to every request: a put would count as applied, a head
 * would find whatever was asked for, and a page would be read as a damaged object. Stores label HTML only what was uploaded as such,
 * and then their answers carry headers of the protocol, which a portal has no reason to send. Proxies that compress what passes
 * give other bytes than the store holds, which nothing here undoes.
 */
import { MalformedAnswer } from './s3-body.ts';

interface Answer {
  statusCode?: number;
  headers?: Record<string, string>;
  body?: { destroy?: () => void };
}

const HTML = /^\s*(text\/html|application\/xhtml)/i;
const OF_STORES = /^(x-amz-|x-goog-|x-minio-|x-oss-|x-obs-|x-cos-|x-rgw-)/i;

const AS_STORED = /^\s*(identity|aws-chunked)?\s*$/i;

/** @throws MalformedAnswer for a success that is a page of somebody else, or whose bytes were changed on the way */
export function assertOfStore(response: unknown): void {
  const { statusCode = 0, headers = {}, body } = (response ?? {}) as Answer;
  if (statusCode < 200 || statusCode > 299) return;
  const encoding = headers['content-encoding'] ?? '';
  if (!AS_STORED.test(encoding)) {
    body?.destroy?.();
    throw new MalformedAnswer(
      `the answer came encoded as ${encoding}: a proxy on the way compresses; switch that off there`,
    );
  }
  if (!HTML.test(headers['content-type'] ?? '')) return;
  if (Object.keys(headers).some((name) => OF_STORES.test(name))) return;
  body?.destroy?.();
  throw new MalformedAnswer(
    `HTML came with status ${statusCode} instead of an answer of the store: a proxy or a sign-in page is on the way; check endpoint and network`,
  );
}
