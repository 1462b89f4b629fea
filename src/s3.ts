/** The S3 entry. Named re-exports only; the AWS SDK is loaded on first use. */
export type { S3ConnectionOptions } from './store/s3-client.ts';
export { S3Store, type S3StoreOptions } from './store/s3-store.ts';
