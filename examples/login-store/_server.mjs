// Logins over HTTP: POST /login?user=ada makes one, GET /me uses and prolongs it, POST /logout ends it. They expire by themselves.
// Where another instance has taken the database over, this one answers 503 and ends: a supervisor starts it again if it is needed.
//
//   PORT=8080 DATABASE=s3://bucket/logins node examples/login-store/_server.mjs
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { FencedError, open } from 'shaledb';

const ttlMs = Number(process.env.TTL_MS ?? 30 * 60_000);
const db = await open(process.env.DATABASE ?? 'memory:', { keyEncoding: 'utf8', valueEncoding: 'json' });
const logins = db.sublevel('login', { keyEncoding: 'utf8', valueEncoding: 'json' });

async function answer({ method, url, headers }) {
  const { pathname, searchParams } = new URL(url, 'http://localhost');
  const id = headers.authorization?.replace('Bearer ', '') ?? '';
  switch (`${method} ${pathname}`) {
    case 'POST /login': {
      const login = { user: searchParams.get('user') ?? 'nobody', since: new Date().toISOString() };
      const newId = randomUUID();
      // The answer is sent when the login is durable.
      await logins.put(newId, login, { ttlMs, ifAbsent: true });
      return [200, { id: newId, ...login }];
    }
    case 'GET /me': {
      const login = id === '' ? undefined : await logins.get(id);
      if (login === undefined) return [401, { error: 'log in first' }];
      // To live longer need not be durable at once: at worst a login ends as if it had not been used.
      await logins.touch(id, { ttlMs, awaitDurable: false });
      return [200, login];
    }
    case 'POST /logout':
      if (id !== '') await logins.delete(id);
      return [200, { loggedOut: true }];
    default:
      return [404, { error: 'POST /login, GET /me or POST /logout' }];
  }
}

const server = createServer(async (request, response) => {
  const [status, body] = await answer(request).catch((error) => {
    if (error instanceof FencedError) void stop(error.message, 3);
    return [503, { error: error.code ?? 'ERROR' }];
  });
  response.writeHead(status, { 'content-type': 'application/json', connection: 'close' }).end(JSON.stringify(body));
});

let isStopping = false;
async function stop(why, exitCode) {
  if (isStopping) return;
  isStopping = true;
  console.log(why);
  server.close();
  await once(server, 'close');
  await db.close();
  process.exitCode = exitCode;
}
process.once('SIGTERM', () => stop('SIGTERM', 0));

server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
