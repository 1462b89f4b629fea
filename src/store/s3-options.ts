/**
 * How a server of S3 is named to `S3Store`.
 *
 * Invariant: nothing here names a type of the AWS SDK. Its declarations need those of Node, which a program that compiles against ours may
 * not have; so a user's compiler must not meet them.
 */

/** Keys that requests are signed with, as the SDK's identity providers give them. */
export interface S3Credentials {
  /** Public part of the key. */
  readonly accessKeyId: string;
  /** Secret part of the key. */
  readonly secretAccessKey: string;
  /** With keys that were lent for a while. */
  readonly sessionToken?: string | undefined;
  /** When the keys end; a function that gave them is asked again before. */
  readonly expiration?: Date | undefined;
}

/** How a server is reached: the bucket, where it is, and who asks. */
export interface S3ConnectionOptions {
  /** Name of the bucket, which must exist. */
  bucket: string;
  /** URL of a server that is not AWS, such as `http://localhost:9000`. */
  endpoint?: string;
  /** From the SDK's usual chain if absent; `us-east-1` with an endpoint of your own. */
  region?: string;
  /**
   * The bucket in the path instead of the host name. If absent: true with an endpoint that is not AWS, wherever that comes from
   * (`endpoint`, `clientConfig`, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, a profile).
   */
  forcePathStyle?: boolean;
  /** The keys, or a function that gives them, such as a provider of the SDK. From the SDK's usual chain if absent. */
  credentials?: S3Credentials | (() => Promise<S3Credentials>);
  /**
   * Whatever else the SDK's client takes; goes before all other settings except `maxAttempts`. Write `satisfies S3ClientConfig`, a type
   * of `@aws-sdk/client-s3`, to have it checked.
   */
  clientConfig?: object;
  /** Time to connect, in ms: 2,000 if absent. */
  connectionTimeoutMs?: number;
  /** Longest time without a byte on a connection, in ms: 5,000 if absent. */
  stallTimeoutMs?: number;
  /** Longest time from the start of a request to the start of its answer, in ms: 30,000 if absent. */
  requestTimeoutMs?: number;
  /** Connections kept at most: 128 if absent. */
  maxSockets?: number;
}
