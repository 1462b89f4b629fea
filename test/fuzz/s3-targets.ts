/** Answers of S3 servers, through the SDK into our store. */
import { Readable } from 'node:stream';
import type { ErrorKind } from '../../src/common/error-kind.ts';
import { crc32 } from '../../src/format/checksum.ts';
import { S3Store } from '../../src/store/s3-store.ts';
import { mutateText, pick } from './mutate.ts';
import { type Target, text } from './target.ts';

type Handle = () => { statusCode: number; headers: Record<string, string>; body: Readable };

/** A bucket whose every request is answered with `answer`. */
function scriptedBucket(): { store: S3Store; answer: (handle: Handle) => void } {
  let current: Handle | undefined;
  const handle = async () => ({ response: current!() });
  const store = new S3Store({
    bucket: 'bucket',
    endpoint: 'http://server.test:9000',
    credentials: { accessKeyId: 'key', secretAccessKey: 'secret' },
    clientConfig: { requestHandler: { handle } as never },
  });
  return {
    store,
    answer: (next) => {
      current = next;
    },
  };
}

const bodyOf = (bytes: Uint8Array) => Readable.from(bytes.length === 0 ? [] : [Buffer.from(bytes)]);
/** Everything that a store's answers may lead to; never a bug report of ours. */
const STORE_ERRORS: readonly ErrorKind[] = ['unavailable', 'invalid', 'aborted', 'conflict', 'incompatible'];

const LIST_PAGES = [0, 1, 3].map((count) => {
  const entries = Array.from(
    { length: count },
    (_, i) =>
      `<Contents><Key>wal/0000000000000000000${i + 1}.sst</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified>` +
      `<ETag>&quot;e${i}&quot;</ETag><Size>${100 + i}</Size><StorageClass>STANDARD</StorageClass></Contents>`,
  );
  return (
    `<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` +
    `<Name>bucket</Name><Prefix>wal/</Prefix><KeyCount>${count}</KeyCount><MaxKeys>1000</MaxKeys>` +
    `<IsTruncated>false</IsTruncated>${entries.join('')}</ListBucketResult>`
  );
});
const XML_WORDS = [
  '<Contents>',
  '</Contents>',
  '<Key>',
  '</Key>',
  '<Size>',
  '</Size>',
  'true',
  '<NextContinuationToken>t</NextContinuationToken>',
  '<IsTruncated>true</IsTruncated>',
  '<!DOCTYPE x [<!ENTITY a "aaaa">]>',
  '&a;',
  '<!-- -->',
  '<![CDATA[x]]>',
  '<Error><Code>SlowDown</Code></Error>',
  'wal/',
  '<ETag/>',
  '<Name/>',
];

/** A LIST answer, the same for every page that is asked for. */
export function listTarget(): Target {
  const { store, answer } = scriptedBucket();
  return {
    name: 's3-list',
    make: (random) => mutateText(pick(random, LIST_PAGES), random, XML_WORDS),
    allowed: STORE_ERRORS,
    decode: async (bytes) => {
      answer(() => ({ statusCode: 200, headers: {}, body: bodyOf(bytes) }));
      let last = '';
      for await (const { path, size } of store.list('wal/')) {
        if (!path.startsWith('wal/') || path <= last || typeof size !== 'number') throw new Error(`listed: ${path}`);
        last = path;
      }
    },
  };
}

const ANSWERS = [
  '200\ncontent-length: 4\netag: "e"\ndate: Sun, 06 Nov 1994 08:49:37 GMT\nx-amz-meta-slatedbputid: 01M7Q5CQG1\n\nabcd',
  '206\ncontent-length: 2\ncontent-range: bytes 1-2/4\netag: "e"\nlast-modified: Sun, 06 Nov 1994 08:49:37 GMT\n\nbc',
  '416\ncontent-range: bytes */4\n\n<Error><Code>InvalidRange</Code></Error>',
  '404\n\n<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>m</Message></Error>',
  '412\n\n<Error><Code>PreconditionFailed</Code></Error>',
  '503\nretry-after: 3\n\n<Error><Code>SlowDown</Code></Error>',
  '301\nlocation: http://other/\n\n',
];
const ANSWER_WORDS = [
  '200',
  '204',
  '206',
  '304',
  '400',
  '403',
  '500',
  'content-length',
  'content-range',
  'bytes',
  'bytes 0--1/0',
  'retry-after',
  'date',
  'etag',
  '<Code>',
  '</Code>',
  'InternalError',
  'NoSuchBucket',
  'ExpiredToken',
  ': ',
  '*',
  '-',
];

/** Any answer (status, headers, body) to every kind of request. */
export function answerTarget(): Target {
  const { store, answer } = scriptedBucket();
  const put = { condition: 'if-absent', putId: '01M7Q5CQG10000000000000001' } as const;
  return {
    name: 's3-answer',
    make: (random) => mutateText(pick(random, ANSWERS), random, ANSWER_WORDS),
    allowed: STORE_ERRORS,
    decode: async (bytes) => {
      const [head, ...rest] = text(bytes).split('\n\n');
      const [status, ...lines] = head.split('\n');
      const headers = Object.fromEntries(
        lines.map((l) => [l.split(': ')[0].toLowerCase(), l.slice(l.indexOf(': ') + 2)]),
      );
      const body = new TextEncoder().encode(rest.join('\n\n'));
      const statusCode = Math.min(599, Math.max(200, Number.parseInt(status, 10) || 200));
      answer(() => ({ statusCode, headers, body: bodyOf(body) }));
      const calls = [
        () => store.get('a'),
        () => store.get('a', { range: { offset: 1, length: 2 } }),
        () => store.get('a', { range: { suffix: 3 } }),
        () => store.head('a'),
        () => store.put('a', body, put),
        () => store.delete(['a', 'b']),
      ];
      await calls[crc32(bytes) % calls.length]();
    },
  };
}
