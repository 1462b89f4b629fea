/**
 * The digests that a large request needs, made without stalling the event loop.
 *
 * The SDK's signer takes SHA-256 over the whole body in one go, 12 ms for 16 MiB, and CRC-32 on top where checksums are on. For
 * bodies above one slice this is done before it, and the signer takes what it finds in the headers:
 * 1. the digests that came with the part, where it was made;
 * 2. over TLS no SHA-256 at all (`UNSIGNED-PAYLOAD`): TLS protects the bytes on their way, our own checksums wherever they are;
 * 3. otherwise digests in slices, with a turn of the event loop after each.
 */
import { createHash } from 'node:crypto';
import * as zlib from 'node:zlib';
import type { S3Client } from '@aws-sdk/client-s3';
import { isBytes, toHex } from '../common/bytes.ts';
import type { Clock } from '../common/clock.ts';
import type { PartDigests } from './object-store.ts';

/** Most bytes that are hashed in one go: 0.8 ms of SHA-256. */
export const HASH_SLICE_BYTES = 1 << 20;

const SHA256_HEADER = 'x-amz-content-sha256';
const CRC32_HEADER = 'x-amz-checksum-crc32';

/** What is known of bodies that are sent, or will be sent again. */
const KNOWN = new WeakMap<Uint8Array, PartDigests>();

/** Absent in some runtimes; then the SDK takes the CRC of the whole body as well. */
const updatedCrc32 = (zlib as { crc32?: (bytes: Uint8Array, before: number) => number }).crc32;

/** Requests whose body is this very array are sent with these digests. */
export function keepDigests(body: Uint8Array, digests: PartDigests): void {
  KNOWN.set(body, digests);
}

interface SignableRequest {
  protocol?: string;
  headers: Record<string, string>;
}

/** Has the client take the digests of large bodies from here. */
export function hashInSlices(client: S3Client, clock: Clock): void {
  client.middlewareStack.add(
    (next) => async (args) => {
      const { Body: body } = args.input as { Body?: unknown };
      if (isBytes(body) && (body.length > HASH_SLICE_BYTES || KNOWN.has(body))) {
        const hasChecksums = (await client.config.requestChecksumCalculation()) === 'WHEN_SUPPORTED';
        await addDigests(args.request as SignableRequest, body, hasChecksums, clock);
      }
      return next(args);
    },
    { step: 'build', name: 'shaledbPayloadDigests', priority: 'high' },
  );
}

async function addDigests(
  { protocol, headers }: SignableRequest,
  body: Uint8Array,
  hasChecksums: boolean,
  clock: Clock,
) {
  const known = KNOWN.get(body) ?? {};
  const isUnsigned = protocol === 'https:' && known.sha256 === undefined;
  const needs = {
    sha256: !isUnsigned && known.sha256 === undefined,
    crc32: hasChecksums && known.crc32 === undefined && updatedCrc32 !== undefined,
  };
  const digests = { ...known, ...(await digestsInSlices(body, needs, clock)) };
  KNOWN.set(body, digests);
  if (isUnsigned) headers[SHA256_HEADER] = 'UNSIGNED-PAYLOAD';
  else if (digests.sha256 !== undefined) headers[SHA256_HEADER] = toHex(digests.sha256);
  if (hasChecksums && digests.crc32 !== undefined) headers[CRC32_HEADER] = base64OfCrc32(digests.crc32);
}

async function digestsInSlices(
  body: Uint8Array,
  needs: { sha256: boolean; crc32: boolean },
  clock: Clock,
): Promise<PartDigests> {
  if (!needs.sha256 && !needs.crc32) return {};
  const hash = needs.sha256 ? createHash('sha256') : undefined;
  let crc = 0;
  for (let at = 0; at < body.length; at += HASH_SLICE_BYTES) {
    if (at > 0) await clock.yieldToLoop();
    const slice = body.subarray(at, at + HASH_SLICE_BYTES);
    hash?.update(slice);
    if (needs.crc32) crc = updatedCrc32?.(slice, crc) ?? 0;
  }
  return { ...(hash && { sha256: hash.digest() }), ...(needs.crc32 && { crc32: crc }) };
}

function base64OfCrc32(crc: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc >>> 0);
  return bytes.toString('base64');
}
