// A small HTTP service with a database and a clean shutdown: on SIGTERM it accepts no more connections, lets running requests
// finish, closes the database (all rows durable, nothing left to replay) and exits. Started by http-shutdown.mjs, or:
//
//   PORT=8080 DATABASE=file:///tmp/service node examples/http-shutdown/_server.mjs
//   curl -X PUT -d hello localhost:8080/greeting; curl localhost:8080/greeting
import { once } from 'node:events';
import { createServer } from 'node:http';
import { isDbError, open } from 'shaledb';

const db = await open(process.env.DATABASE ?? 'memory:');

const server = createServer((request, response) => {
  answer(request).then(
    ([status, body]) => response.writeHead(status).end(body),
    (error) => {
      // If the failure is temporary, the client may try again; all other errors are logged.
      const retry = isDbError(error) && error.retryable;
      if (!retry) console.error(error);
      response.writeHead(retry ? 503 : 500, { 'content-type': 'application/json' });
      response.end(JSON.stringify(isDbError(error) ? { code: error.code, outcome: error.outcome } : { code: 'ERROR' }));
    },
  );
});

async function answer(request) {
  const key = decodeURIComponent(request.url.slice(1));
  if (key === '') return [400, 'the path is the key'];
  if (request.method === 'GET') {
    const value = await db.get(key);
    return value === undefined ? [404, 'not found'] : [200, value];
  }
  if (request.method === 'PUT') {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    // The answer is sent when the row is durable.
    const { seq } = await db.put(key, Buffer.concat(chunks));
    return [200, `${seq}\n`];
  }
  if (request.method === 'DELETE') {
    await db.delete(key);
    return [204];
  }
  return [405, 'GET, PUT or DELETE'];
}

async function shutDown(signal) {
  console.log(`${signal}: finishing`);
  const closed = once(server, 'close');
  server.close();
  server.closeIdleConnections();
  await closed;
  await db.close();
  console.log('closed');
}

// A second signal ends the process at once. Give the supervisor's grace period more than closeTimeoutMs (10 s).
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => {
    shutDown(signal).catch((error) => {
      console.error(error);
      process.exitCode = 1;
    });
  });
}

server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
