/** The lossy proxy keeps its promise: what is dropped was answered by the server, and the client saw none of it. */
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { describeWithS3 } from '../support/environment.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';

interface Answer {
  status: number;
  body: string;
}

function send(
  endpoint: string,
  method: string,
  path: string,
  body = '',
  headers: Record<string, string> = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(`${endpoint}${path}`, { method, headers, agent: false }, (response) => {
      let text = '';
      response.on('data', (part) => {
        text += part;
      });
      response.on('end', () => resolve({ status: response.statusCode!, body: text }));
      response.on('error', reject);
    });
    sent.on('error', reject);
    if (headers['expect'] !== undefined) sent.on('continue', () => sent.end(body));
    else sent.end(body);
  });
}

describe('TCP proxy', () => {
  let server: Server;
  let proxy: TcpProxy;
  let seen: { line: string; body: string }[];

  beforeEach(async () => {
    seen = [];
    server = createServer((req, res) => {
      let body = '';
      req.on('data', (part) => {
        body += part;
      });
      req.on('end', () => {
        seen.push({ line: `${req.method} ${req.url}`, body });
        // Without a length the answer is chunked; /close has neither and ends with the connection.
        if (req.url === '/close') res.shouldKeepAlive = false;
        if (req.url === '/length') res.setHeader('content-length', 4);
        if (req.url === '/none') res.statusCode = 204;
        res.write(req.url === '/none' ? '' : 'an');
        res.end(req.url === '/none' ? undefined : 'sw');
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    proxy = await startTcpProxy(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  });
  afterEach(async () => {
    await proxy.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  it('leads new connections to where the server went', async () => {
    const moved = createServer((_, res) => res.end('moved'));
    await new Promise<void>((resolve) => moved.listen(0, '127.0.0.1', resolve));
    proxy.retarget(`http://127.0.0.1:${(moved.address() as AddressInfo).port}`);
    expect((await send(proxy.endpoint, 'GET', '/x')).body).toBe('moved');
    moved.closeAllConnections();
    await new Promise((resolve) => moved.close(resolve));
  });

  it('passes messages with every kind of body', async () => {
    for (const path of ['/chunked', '/length', '/close']) {
      expect(await send(proxy.endpoint, 'PUT', path, 'body')).toEqual({ status: 200, body: 'answ' });
    }
    expect(await send(proxy.endpoint, 'GET', '/none')).toEqual({ status: 204, body: '' });
    expect(await send(proxy.endpoint, 'HEAD', '/length')).toEqual({ status: 200, body: '' });
    expect(await send(proxy.endpoint, 'PUT', '/e', 'x', { expect: '100-continue' })).toEqual({
      status: 200,
      body: 'answ',
    });
    expect(proxy.requestLines[0]).toBe('PUT /chunked HTTP/1.1');
  });

  it.each(['/chunked', '/length', '/none'])('drops the answer to %s after the server has given it', async (path) => {
    const dropped = proxy.dropNextResponse((head) => head.startsWith(`PUT ${path} `));
    expect((await send(proxy.endpoint, 'PUT', '/other', 'o')).body).toBe('answ');
    await expect(send(proxy.endpoint, 'PUT', path, 'body')).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect(seen.at(-1)).toEqual({ line: `PUT ${path}`, body: 'body' });
    expect((await dropped).responseHead).toMatch(/^HTTP\/1\.1 20[04]/);
    expect((await send(proxy.endpoint, 'PUT', path, 'again')).status).toBeLessThan(300);
  });

  it('drops a request before the server has it', async () => {
    const dropped = proxy.dropNextRequest((head) => head.startsWith('PUT /lost '));
    await expect(send(proxy.endpoint, 'PUT', '/lost', 'body')).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect((await dropped).responseHead).toBe('');
    expect(seen).toEqual([]);
  });

  it('delivers a request that was delayed when the test says so, on a connection of its own', async () => {
    const delayed = proxy.delayNextRequest((head) => head.startsWith('PUT /length '));
    await expect(send(proxy.endpoint, 'PUT', '/length', 'late')).rejects.toMatchObject({ code: 'ECONNRESET' });
    const { requestHead, deliver } = await delayed;
    expect([seen, requestHead]).toEqual([[], expect.stringMatching(/^PUT \/length /)]);
    expect(await deliver()).toMatch(/^HTTP\/1\.1 200 /);
    expect(seen).toEqual([{ line: 'PUT /length', body: 'late' }]);
  });

  it.each(['/chunked', '/length', '/none'])(
    'sends a request to %s twice and passes the second answer on',
    async (path) => {
      const doubled = proxy.doubleNextRequest((head) => head.startsWith(`PUT ${path} `));
      // Else the server ends the connection after the first of the two.
      const kept = { connection: 'keep-alive' };
      const answers = [
        await send(proxy.endpoint, 'PUT', path, 'body', kept),
        await send(proxy.endpoint, 'PUT', path, 'next', kept),
      ];
      expect((await doubled).responseHead).toMatch(/^HTTP\/1\.1 20[04]/);
      expect(seen.map(({ body }) => body)).toEqual(['body', 'body', 'next']);
      expect(answers.map(({ status }) => status)).toEqual(path === '/none' ? [204, 204] : [200, 200]);
    },
  );

  it('refuses connections while asked to, and cuts those that stand', async () => {
    proxy.refuseConnections(true);
    await expect(send(proxy.endpoint, 'GET', '/a')).rejects.toMatchObject({ code: 'ECONNRESET' });
    proxy.refuseConnections(false);
    const hanging = send(proxy.endpoint, 'PUT', '/hangs', 'x', { expect: '100-continue', 'content-length': '2' });
    hanging.catch(() => {});
    while (proxy.requestLines.at(-1) !== 'PUT /hangs HTTP/1.1') await new Promise((resolve) => setImmediate(resolve));
    proxy.cutAll();
    await expect(hanging).rejects.toThrow();
    expect((await send(proxy.endpoint, 'GET', '/b')).status).toBe(200);
  });
});

describeWithS3('TCP proxy before an S3 server', (s3) => {
  it('loses the answer to a PUT that was applied', async () => {
    const bucket = await s3.freshBucket();
    const proxy = await startTcpProxy(s3.endpoint);
    try {
      const dropped = proxy.dropNextResponse((head) => head.startsWith(`PUT /${bucket}/o?`));
      const signed = await s3.client().presignedPutObject(bucket, 'o');
      // The signature covers the Host header: it must go on naming the server itself.
      const { pathname, search, host } = new URL(signed);
      await expect(send(proxy.endpoint, 'PUT', pathname + search, 'kept', { host })).rejects.toMatchObject({
        code: 'ECONNRESET',
      });
      expect((await dropped).responseHead).toMatch(/^HTTP\/1\.1 200 /);
      expect((await s3.client().statObject(bucket, 'o')).size).toBe(4);
    } finally {
      await proxy.close();
    }
  });
});
