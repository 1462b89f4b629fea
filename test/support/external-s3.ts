/** An S3 server that runs already and is named by the environment; also for programs that are no tests. */

export interface ServerKeys {
  /** `http://host:port`, without a slash at the end. */
  endpoint: string;
  accessKeyId: string;
  secretAccessKey: string;
  region: string;
}

/** The server named by the environment, if one is named. */
export function externalS3(env: NodeJS.ProcessEnv): (ServerKeys & { kind: 'external' }) | undefined {
  const endpoint = env['SHALEDB_TEST_S3_ENDPOINT'];
  if (endpoint === undefined || endpoint === '') return undefined;
  return {
    endpoint: endpoint.replace(/\/$/, ''),
    accessKeyId: env['AWS_ACCESS_KEY_ID'] ?? 'minioadmin',
    secretAccessKey: env['AWS_SECRET_ACCESS_KEY'] ?? 'minioadmin',
    region: env['AWS_REGION'] ?? 'us-east-1',
    kind: 'external',
  };
}
