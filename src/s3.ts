/** The S3 entry. Named re-exports only; the AWS SDK is loaded on first use. */
export type { S3ConnectionOptions, S3Credentials } from './store/s3-options.ts';
export { S3Store, type S3StoreOptions } from './store/s3-store.ts';
