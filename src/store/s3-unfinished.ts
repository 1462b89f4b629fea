/**
 * The multipart uploads of a bucket that are neither completed nor removed, and their removal.
 *
 * MinIO lists them by the whole key or all of them, but not by a prefix: where a server that is not AWS names none, all are asked for, and
 * those of the prefix are taken.
 */
import type { ListMultipartUploadsCommandOutput } from '@aws-sdk/client-s3';
import { comparePaths } from './object-path.ts';
import type { CallOptions, UnfinishedUpload } from './object-store.ts';
import { MalformedAnswer } from './s3-body.ts';
import type { S3Connection } from './s3-client.ts';
import { storeTimeMs } from './s3-headers.ts';

/** Most that one call names. */
const MAX_UPLOADS = 10_000;

export async function listUnfinished(
  connection: S3Connection,
  bucket: string,
  prefix: string,
  options: CallOptions,
): Promise<UnfinishedUpload[]> {
  const found = await listBelow(connection, bucket, prefix, prefix, options);
  if (found.length > 0 || prefix === '' || connection.isAws) return found;
  return listBelow(connection, bucket, '', prefix, options);
}

async function listBelow(
  { sdk, client }: S3Connection,
  Bucket: string,
  Prefix: string,
  prefix: string,
  { signal }: CallOptions,
): Promise<UnfinishedUpload[]> {
  const found: UnfinishedUpload[] = [];
  const markers = new Set<string>();
  let after: { KeyMarker?: string; UploadIdMarker?: string } | undefined = {};
  while (after !== undefined && found.length < MAX_UPLOADS) {
    const command: InstanceType<typeof sdk.ListMultipartUploadsCommand> = new sdk.ListMultipartUploadsCommand({
      Bucket,
      Prefix,
      ...after,
    });
    const page = await client.send(command, signal === undefined ? {} : { abortSignal: signal });
    // An empty body is parsed as a success with nothing in it.
    if (page.Bucket === undefined && page.IsTruncated === undefined) {
      throw new MalformedAnswer('the answer to a list of uploads is empty');
    }
    found.push(...uploadsOn(page, prefix));
    after = nextOf(page);
    if (after === undefined) break;
    const marker = JSON.stringify(after);
    if (markers.has(marker)) throw new MalformedAnswer('a list of uploads repeats itself');
    markers.add(marker);
  }
  found.sort((a, b) => comparePaths(a.path, b.path));
  return found.slice(0, MAX_UPLOADS);
}

function uploadsOn(page: ListMultipartUploadsCommandOutput, prefix: string): UnfinishedUpload[] {
  const timeMs = storeTimeMs(page);
  return (page.Uploads ?? []).flatMap(({ Key, UploadId, Initiated }) => {
    if (Key === undefined || UploadId === undefined) {
      throw new MalformedAnswer('a list of uploads has an entry without key or id');
    }
    if (!Key.startsWith(prefix)) return [];
    return [{ path: Key, uploadId: UploadId, startedMs: Initiated?.getTime() ?? 0, storeTimeMs: timeMs }];
  });
}

function nextOf(page: ListMultipartUploadsCommandOutput): { KeyMarker?: string; UploadIdMarker?: string } | undefined {
  const { IsTruncated, NextKeyMarker: KeyMarker, NextUploadIdMarker: UploadIdMarker } = page;
  if (IsTruncated !== true) return undefined;
  if (KeyMarker === undefined) throw new MalformedAnswer('a list of uploads goes on, but does not say where');
  return UploadIdMarker === undefined ? { KeyMarker } : { KeyMarker, UploadIdMarker };
}
